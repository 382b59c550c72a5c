"""Measured inference runs as cells: the estimator's inputs out of a file's columns and notes."""

from __future__ import annotations

from functools import partial
from typing import Final

import polars as pl

from planner.catalog.load import Catalog
from planner.resolve.engines import parse_version
from planner.resolve.tables import Tables
from planner.units import BYTES_PER_GIB
from planner.verify.formats import least_format, measured_format

_INTEGERS: Final = (
    "gpu_count",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "gpu_layers",
    "input_tokens",
    "output_tokens",
)
_UNKNOWN_VERSION: Final = "unknown"
_V0_LOG_VERSION: Final = "0.7"
V0_WORKER: Final = "V0 worker"
"""What the notes of a run say whose worker is vLLM's V0, in a version that has V1."""
_FIRST_WITH_V1: Final = (0, 8)
_MICRO_BATCH: Final = r"ubatch (\d+)"
_FRACTION: Final = r"mem_fraction_static ([\d.]+)"
_CARD: Final = r"\bcard: ([^;(]+)"
_FREE: Final = r"\(([\d.]+) ?Gi?B free\)"
_STARTED_GIB: Final = 0.51
"""What a CUDA context takes before an engine reads its free memory (H100: 78.68 of 79.19 GiB)."""
_LORA: Final = "LoRA enabled"
_LORA_SLOTS: Final = r"max_loras = (\d+)"
_LORA_RANK: Final = r"LoRA enabled, rank (\d+)"
_NO_FLASH: Final = r"flash_attn 0\b"
ON_CPU: Final = "part of the weights on CPU"
"""What the notes of a run with tensors in host memory say."""


def inference_cells(rows: pl.DataFrame, tables: Tables, catalog: Catalog) -> pl.DataFrame:
    """One cell a measured run: the contract's inference columns out of the file's.

    What a run printed about its card (`total_gpu_memory_gib`) is an input, like the card's name;
    what it measured is not. Notes give the micro batch of llama.cpp, SGLang's fraction, whether
    LoRA is on (with its rank and slots), and a card without an id or its free memory. A sum over
    the GPUs of a layer split is estimated as one GPU that holds everything.
    """
    whole = pl.col("scope") == "total"
    notes = pl.col("notes").fill_null("")
    free = notes.str.extract(_FREE).cast(pl.Float64) + _STARTED_GIB
    total = pl.col("total_gpu_memory_gib").cast(pl.Float64)
    printed = pl.coalesce(total, free) * BYTES_PER_GIB
    typed = _with_named_cards(rows, catalog).with_columns(
        *(pl.col(name).cast(pl.Float64).cast(pl.Int64) for name in _INTEGERS),
        pl.col("gpu_memory_utilization").cast(pl.Float64),
        pl.col("batch_size").cast(pl.Float64).cast(pl.Int64).alias("concurrent_sequences"),
        (pl.col("enforce_eager").str.to_lowercase() == "true").alias("enforce_eager"),
        pl.col("max_model_len").cast(pl.Float64).cast(pl.Int64).alias("context_tokens"),
        micro_batch=notes.str.extract(_MICRO_BATCH).cast(pl.Int64),
        fraction=notes.str.extract(_FRACTION).cast(pl.Float64),
    )
    usable = catalog.gpus.select("gpu", "usable_low_bytes", "usable_bytes", "usable_high_bytes")
    return (
        typed.join(usable, on="gpu", how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("micro_batch", "max_num_batched_tokens").alias("max_num_batched_tokens"),
            pl.coalesce("gpu_memory_utilization", "fraction").alias("gpu_memory_utilization"),
            pl.when(whole)
            .then(1)
            .otherwise(pl.col("pipeline_parallel_size").fill_null(1))
            .alias("pipeline_parallel_size"),
            *(
                pl.coalesce(printed, name).alias(name)
                for name in ("usable_low_bytes", "usable_bytes", "usable_high_bytes")
            ),
            method=pl.lit("inference"),
            has_host_weights=notes.str.contains(ON_CPU, literal=True),
            attention=pl.when(notes.str.contains(_NO_FLASH)).then(pl.lit("eager")),
            lora_adapters=pl.when(notes.str.contains(_LORA, literal=True)).then(
                notes.str.extract(_LORA_SLOTS).cast(pl.Int64).fill_null(1)
            ),
            lora_rank=notes.str.extract(_LORA_RANK).cast(pl.Int64),
        )
        .with_columns(*_formats(rows, tables, catalog))
    )


def _with_named_cards(rows: pl.DataFrame, catalog: Catalog) -> pl.DataFrame:
    """Rows whose card has no id take the one that the notes name, where the catalog knows it."""
    named = rows["notes"].fill_null("").str.extract(_CARD).str.strip_chars()
    found = {name: catalog.find("gpus", name) for name in named.drop_nulls().unique().to_list()}
    cards = named.replace_strict(found, default=None, return_dtype=pl.String)
    return rows.with_columns(gpu=pl.coalesce("gpu", cards))


def _formats(rows: pl.DataFrame, tables: Tables, catalog: Catalog) -> list[pl.Series]:
    """The format of each run, and the smallest it may be where its group size was not printed."""
    own = own_formats(tables)
    bits = dict(catalog.formats.select("weight_format", "bits_per_weight").iter_rows())

    resolve = partial(catalog.find, "formats")
    pairs = rows.select("model", "weight_format").unique().rows()
    known = {
        (model, name): name and measured_format(name, own.get(model, ()), bits, resolve)
        for model, name in pairs
    }
    least = {
        (model, name): name and least_format(name, own.get(model, ()), resolve)
        for model, name in pairs
    }
    runs = rows.select("model", "weight_format").rows()
    return [
        pl.Series(column, [found[run] for run in runs], dtype=pl.String)
        for column, found in (("weight_format", known), ("least_format", least))
    ]


def own_formats(tables: Tables) -> dict[str, tuple[str, ...]]:
    """Formats a pre-quantised checkpoint is stored in, by model, the most common first."""
    size = (pl.col("numel") * pl.col("count")).sum()
    frame = (
        tables.tensors.filter(pl.col("checkpoint_format").is_not_null())
        .group_by("model", "checkpoint_format")
        .agg(size.alias("size"))
        .sort("size", descending=True)
        .collect(engine="in-memory")
    )
    found: dict[str, tuple[str, ...]] = {}
    for model, name, _ in frame.iter_rows():
        found[model] = (*found.get(model, ()), name)
    return found


def with_versions(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a version: `unknown`, or the one a log line of vLLM gives away, where none is told.

    One line with weights, non-torch memory, activation peak and cache was logged by V0 workers of
    0.6.5 to 0.8; newer ones print these terms for debugging only, beside the version.
    """
    rows = of_v0_workers(rows)
    terms = ("weights_gib", "non_torch_gib", "activation_peak_gib", "kv_cache_gib")
    told = pl.all_horizontal(pl.col(term).is_not_null() for term in terms)
    v0 = (pl.col("engine") == "vllm") & pl.col("engine_version").is_null() & told
    known = pl.col("engine_version").fill_null(_UNKNOWN_VERSION)
    version = pl.when(v0).then(pl.lit(_V0_LOG_VERSION)).otherwise(known)
    return rows.with_columns(engine_version=version)


def of_v0_workers(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the last version that had V0 alone where the notes name a V0 worker.

    Versions with both take V1 unless a setting rules it out, and not every such setting is in the
    file (VLLM_USE_V1=0).
    """
    versions = rows["engine_version"].unique().to_list()
    both = [one for one in versions if may_be_v1(one)]
    version = pl.col("engine_version")
    named = pl.col("notes").str.contains(V0_WORKER, literal=True)
    older = (pl.col("engine") == "vllm") & named & (version.is_null() | version.is_in(both))
    return rows.with_columns(
        engine_version=pl.when(older).then(pl.lit(_V0_LOG_VERSION)).otherwise(version)
    )


def may_be_v1(version: str | None) -> bool:
    """Whether a version of vLLM has a V1 worker; one that is not known may."""
    return (parse_version(version) or _FIRST_WITH_V1) >= _FIRST_WITH_V1
