"""What PyTorch's caching allocator adds to large tensors.

A request of 10 MiB or more gets a segment rounded up to 2 MiB; a rest of up to 1 MiB is not split
off and counts as allocated (c10/cuda/CUDACachingAllocator.cpp: kMinLargeAlloc, kRoundLarge,
kSmallSize). For a 7B model that is about 50 MiB.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.units import BYTES_PER_MIB

LARGE_REQUEST_BYTES: Final = 10 * BYTES_PER_MIB
SEGMENT_BYTES: Final = 2 * BYTES_PER_MIB
KEPT_REST_BYTES: Final = BYTES_PER_MIB

FUSED_LEAVES: Final = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
    "w1": "gate_up_proj",
    "w3": "gate_up_proj",
}
"""Leaf of a projection -> the tensor that serving engines load it into."""


def slack_bytes(size: pl.Expr) -> pl.Expr:
    """Bytes the allocator counts beyond `size` for one tensor."""
    rest = (SEGMENT_BYTES - size % SEGMENT_BYTES) % SEGMENT_BYTES
    kept = (size >= LARGE_REQUEST_BYTES) & (rest <= KEPT_REST_BYTES)
    return pl.when(kept).then(rest).otherwise(0.0)


def expert_matrices() -> pl.Expr:
    """Linears that a stack of experts is in an engine with a module for each; 1 for other tensors.

    Gate and up of one stack are two linears an expert.
    """
    both = pl.when(pl.col("name").str.contains("gate_up", literal=True)).then(2).otherwise(1)
    stacked = pl.col("kind") == "experts"
    return pl.when(stacked).then(pl.col("shape").list.first() * both).otherwise(1)


def slack_of_weights(
    tensors: pl.LazyFrame, layouts: pl.LazyFrame, rank_share: pl.Expr
) -> pl.LazyFrame:
    """Slack of all weights on one rank, `allocation_slack_bytes`, for every row of `layouts`.

    `tensors` has one row a group of equal tensors of a (model, weight_format) with `payload_bytes`
    of one copy, `leaf`, `role`, `layers`, `copies` and the columns `rank_share` reads. Projections
    that an engine fuses (`is_fused`) are rounded as one; experts of an engine that keeps a module
    for each (`has_single_experts`) one by one.
    """
    keys = layouts.collect_schema().names()
    fused = pl.when(pl.col("is_fused")).then(pl.col("leaf").replace(FUSED_LEAVES))
    count = pl.max_horizontal(pl.col("layers").list.len(), pl.col("copies"))
    matrices = pl.when(pl.col("has_single_experts")).then(expert_matrices()).otherwise(1)
    per_stage = (
        pl.when(pl.col("layers").list.len() > 0)
        .then(pl.col("count") / pl.col("pipeline_parallel_size"))
        .otherwise(pl.col("count"))
    )
    return (
        layouts.join(tensors, on=["model", "weight_format"])
        .filter(~pl.col("tied") & pl.col("kind").is_in(["linear", "experts", "embedding"]))
        .with_columns(
            module=fused.otherwise(pl.col("name")),
            first_layer=pl.col("layers").list.first(),
            count=count,
            matrices=matrices,
            size=pl.col("payload_bytes") * rank_share / matrices,
        )
        .group_by(*keys, "module", "role", "first_layer", "count", "matrices")
        .agg(pl.col("size").sum(), pl.col("layers").first())
        .with_columns(slack=slack_bytes(pl.col("size")) * per_stage * pl.col("matrices"))
        .group_by(*keys)
        .agg(pl.col("slack").sum().alias("allocation_slack_bytes"))
    )
