"""Speculative decoding: weights and cache of a draft model, or of the model's own heads.

A draft model is loaded beside the target on the same ranks and caches the same tokens. Without
one, `speculative_tokens` means heads of the model itself (MTP, EAGLE), taken as one more decoder
layer; n-gram lookup needs none, so the lower bound is nothing.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.kv_cache import cache_by_rank
from planner.estimate.ledger import Bound
from planner.estimate.weights import CHECKPOINT, SPLIT_EVEN, weights_by_rank
from planner.resolve.tables import Tables

_KEYS: Final = ("draft_model", "tensor_parallel_size")
_HEAD_LAYERS: Final[dict[Bound, float]] = {"low": 0.0, "expected": 1.0, "high": 2.0}


def with_draft(facts: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Facts with what a rank holds of the draft model: null without one, or where it is unknown.

    Adds `draft_weights_bytes` and `draft_elements` (cached per token).
    """
    drafts = facts.select(_KEYS).filter(pl.col("draft_model").is_not_null()).unique()
    layout = drafts.select(
        pl.col("draft_model").alias("model"),
        "tensor_parallel_size",
        pl.lit(1, pl.Int64).alias("pipeline_parallel_size"),
        pl.lit(1, pl.Int64).alias("expert_parallel_size"),
        pl.lit(CHECKPOINT).alias("weight_format"),
        pl.lit(SPLIT_EVEN).alias("layer_split"),
    )
    weights = weights_by_rank(tables, layout).select(
        pl.col("model").alias("draft_model"),
        "tensor_parallel_size",
        pl.col("weights_bytes").alias("draft_weights_bytes"),
    )
    cached = pl.col("global_elements") + pl.col("local_elements")
    cache = cache_by_rank(tables, layout).select(
        pl.col("model").alias("draft_model"),
        "tensor_parallel_size",
        cached.alias("draft_elements"),
    )
    return facts.join(weights, on=list(_KEYS), how="left").join(cache, on=list(_KEYS), how="left")


def _has_heads() -> pl.Expr:
    drafts = (pl.col("speculative_tokens") > 0).fill_null(False)
    return drafts & pl.col("draft_model").is_null()


def draft_weights_bytes(bound: Bound = "expected") -> pl.Expr:
    """Weights of the draft model, or of one more layer for heads of the model itself."""
    outer = pl.col("embedding_weights_bytes") + pl.col("lm_head_weights_bytes")
    layers = pl.col("num_hidden_layers") / pl.col("pipeline_parallel_size")
    head = (pl.col("rank_weights_bytes") - outer) / layers * _HEAD_LAYERS[bound]
    own = pl.when(_has_heads()).then(head).otherwise(0.0)
    return pl.col("draft_weights_bytes").fill_null(0.0) + own


def draft_token_bytes() -> pl.Expr:
    """Cached bytes per token beside the model's own."""
    own = pl.when(_has_heads()).then("largest_layer_elements").otherwise(0.0)
    return (pl.col("draft_elements").fill_null(0.0) + own) * pl.col("cache_element_bytes")
