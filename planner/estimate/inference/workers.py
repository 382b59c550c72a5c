"""Which runs an older worker of an engine takes, where a version has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from planner.resolve.engines import OLDER_WORKER

_AMPERE: Final = 8.0
_HOPPER: Final = 9.0
_BITSANDBYTES: Final = ("int8-bnb", "fp4-bnb")

_REASONS: Final[dict[str, Callable[[], pl.Expr]]] = {
    "old_card": lambda: pl.col("compute_capability") < _AMPERE,
    "fp8_cache": lambda: (
        pl.col("kv_cache_dtype").str.starts_with("fp8") & (pl.col("compute_capability") != _HOPPER)
    ),
    "any_fp8_cache": lambda: pl.col("kv_cache_dtype").str.starts_with("fp8"),
    "not_nvidia": lambda: pl.col("vendor") != "nvidia",
    "drafting": lambda: pl.col("has_drafting"),
    "recurrent": lambda: pl.col("has_recurrent_state"),
    "draft_model": lambda: pl.col("draft_model").is_not_null(),
    "fp32": lambda: pl.col("weight_format") == "fp32",
    "gguf": lambda: pl.col("weight_format").str.starts_with("gguf"),
    "adapters": lambda: pl.col("has_adapters"),
    "pipeline": lambda: pl.col("pipeline_parallel_size") > 1,
    "cpu_offload": lambda: pl.col("has_cpu_offload"),
    "bitsandbytes": lambda: (
        (pl.col("weight_family") == "nf4") | pl.col("weight_format").is_in(_BITSANDBYTES)
    ),
}
"""Reasons that profile files may name, by what they read of a run."""


def worker() -> pl.Expr:
    """The engine's worker that takes a run: empty, or the older one (`worker`).

    Reads `fallback_reasons` and the settings that may send a run there.
    """
    reasons = pl.col("fallback_reasons")
    taken = pl.any_horizontal(
        (reasons.list.contains(name) & condition()).fill_null(False)
        for name, condition in _REASONS.items()
    )
    return pl.when(taken).then(pl.lit(OLDER_WORKER)).otherwise(pl.lit("")).alias("worker")
