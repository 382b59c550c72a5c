"""KV cache and recurrent state: bytes per token and per sequence on the most loaded rank.

Layers fall into three kinds: `global` layers keep every token, `local` layers (sliding window or
chunk) at most their window, recurrent layers a constant state. So a sequence of C tokens takes
`global x C + local x min(C, window) + state`, which is concave in C and has a closed inverse.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.weights import stage_by_split
from planner.resolve.tables import Tables

CACHE_KEYS: Final = ("model", "tensor_parallel_size", "pipeline_parallel_size", "layer_split")
ELEMENT_BYTES: Final = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "float16": 2.0,
    "bfloat16": 2.0,
    "f16": 2.0,
    "f32": 4.0,
    "fp8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
    "int8": 1.0,
    "int4": 0.5,
    "fp8_ds_mla": 656 / 576,
    "q8_0": 34 / 32,
    "q6_0": 26 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
"""Bytes of one cached element. GGUF types: bytes of a block of 32 (ggml's block structs);
`fp8_ds_mla`: 656 bytes of 576 elements, with scales and a 16-bit rotary part."""


def cache_by_rank(tables: Tables, wanted: pl.LazyFrame) -> pl.LazyFrame:
    """What one rank caches, for every model and layout of `wanted` (CACHE_KEYS).

    `layer_split` is how pipeline stages get layers: `even`, or `with-output` where the output
    counts as one more layer (llama.cpp). Adds, for the stage that caches most per token:
    `global_elements` and `local_elements` per token, `expanded_elements` (global elements in an
    engine that stores MLA as plain heads), `indexer_elements`, `local_window_tokens` (mean over
    the local layers, weighted by elements), `conv_state_elements`, `ssm_state_elements` per
    sequence, `global_layers`, `local_layers`, `state_layers`, `largest_layer_elements` (per token),
    and `first_global_elements`, `first_local_elements`, `first_expanded_elements` of stage 0.
    """
    layouts = wanted.select(*CACHE_KEYS).unique()
    tp = pl.col("tensor_parallel_size")
    heads = pl.col("num_key_value_heads")
    latent = pl.col("mixer") == "mla"
    share = pl.when(heads > 0).then(pl.max_horizontal(1 / tp, 1 / heads)).otherwise(1 / tp)
    kept = pl.when(pl.col("kv_shared")).then(0).otherwise(pl.col("kv_elements_per_token"))
    expanded = pl.when(latent).then(pl.col("kv_expanded_elements_per_token")).otherwise(kept)
    layers = (
        layouts.join(tables.layers, on="model")
        .join(tables.models.select("model", "num_hidden_layers"), on="model")
        .with_columns(
            stage=stage_by_split(),
            is_local=pl.col("window_tokens").is_not_null(),
            elements=kept * pl.when(latent).then(1.0).otherwise(share),
            expanded=expanded * share,
            conv_state_elements=pl.col("conv_state_elements") / tp,
            ssm_state_elements=pl.col("ssm_state_elements") / tp,
        )
    )
    stages = layers.group_by(*CACHE_KEYS, "stage").agg(_stage_sums()).sort(*CACHE_KEYS, "stage")
    return stages.group_by(*CACHE_KEYS).agg(_binding_stage())


def _stage_sums() -> list[pl.Expr]:
    local = pl.col("is_local")
    caching = pl.col("elements") > 0
    state = (pl.col("conv_state_elements") + pl.col("ssm_state_elements")) > 0
    window = pl.col("window_tokens") * pl.col("elements")
    return [
        pl.col("elements").filter(~local).sum().alias("global_elements"),
        pl.col("elements").filter(local).sum().alias("local_elements"),
        pl.col("expanded").filter(~local).sum().alias("expanded_elements"),
        pl.col("indexer_elements_per_token").sum().cast(pl.Float64).alias("indexer_elements"),
        (window.filter(local).sum() / pl.col("elements").filter(local).sum())
        .fill_nan(None)
        .alias("local_window_tokens"),
        pl.col("conv_state_elements").sum(),
        pl.col("ssm_state_elements").sum(),
        (caching & ~local).sum().cast(pl.Int64).alias("global_layers"),
        (caching & local).sum().cast(pl.Int64).alias("local_layers"),
        state.sum().cast(pl.Int64).alias("state_layers"),
        pl.col("elements").max().alias("largest_layer_elements"),
    ]


_TIE: Final = 1e-9
"""Weight of recurrent state against cached elements: it decides between equal stages only."""


def _binding_stage() -> list[pl.Expr]:
    """The stage with most cached elements; of equal ones that with most state, then the first."""
    state = pl.col("conv_state_elements") + pl.col("ssm_state_elements")
    ordered = pl.col("global_elements") + pl.col("local_elements") / 1024 + state * _TIE
    at = ordered.arg_max()
    names = (
        "global_elements",
        "local_elements",
        "expanded_elements",
        "indexer_elements",
        "local_window_tokens",
        "conv_state_elements",
        "ssm_state_elements",
        "global_layers",
        "local_layers",
        "state_layers",
        "largest_layer_elements",
    )
    first = pl.col("stage") == 0
    firsts = ("global_elements", "local_elements", "expanded_elements")
    return [
        *(pl.col(name).get(at) for name in names),
        *(pl.col(name).filter(first).first().alias(f"first_{name}") for name in firsts),
    ]


def element_bytes(kv_cache_dtype: pl.Expr, model_bytes: pl.Expr) -> pl.Expr:
    """Bytes of one cached element; `auto` and null take the model's own width."""
    own = kv_cache_dtype.is_null() | (kv_cache_dtype == "auto")
    named = kv_cache_dtype.replace_strict(ELEMENT_BYTES, default=None, return_dtype=pl.Float64)
    return pl.when(own).then(model_bytes).otherwise(named)


def sequence_tokens_bytes(
    tokens: pl.Expr, global_bytes: pl.Expr, local_bytes: pl.Expr, window: pl.Expr
) -> pl.Expr:
    """Bytes one sequence of `tokens` caches: global layers all of it, local ones the window."""
    held = pl.min_horizontal(tokens, window.fill_null(0))
    return tokens * global_bytes + held * local_bytes


def longest_sequence(
    room_bytes: pl.Expr, global_bytes: pl.Expr, local_bytes: pl.Expr, window: pl.Expr
) -> pl.Expr:
    """Most tokens of one sequence that fit into `room_bytes`: the inverse of the concave sum.

    A concave piecewise linear function is the least of its pieces, so its inverse is the largest
    of theirs: below the window both kinds grow, above it only the global layers do. Infinite
    where nothing grows and the windows fit.
    """
    span = window.fill_null(0)
    both = global_bytes + pl.when(span > 0).then(local_bytes).otherwise(0.0)
    below = pl.when(both > 0).then(room_bytes / both).otherwise(float("inf"))
    rest = room_bytes - span * local_bytes
    above = (
        pl.when(global_bytes > 0)
        .then(rest / global_bytes)
        .when(rest >= 0)
        .then(float("inf"))
        .otherwise(0.0)
    )
    tokens = pl.when(local_bytes > 0).then(pl.max_horizontal(below, above)).otherwise(below)
    return pl.max_horizontal(tokens, 0.0)
