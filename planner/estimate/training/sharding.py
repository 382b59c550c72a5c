"""How data-parallel schemes cut the model states, and what they gather and buffer.

DDP replicates; ZeRO-1 cuts optimizer states, ZeRO-2 gradients too, ZeRO-3 and FSDP weights too;
HSDP cuts inside a node only. Context-parallel ranks take part in the sharding of weights.
Source: ZeRO (Rajbhandari et al., 2020), torch FSDP, DeepSpeed's memory estimators.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.training.states import SHARDS_GRADIENTS, SHARDS_OPTIMIZER

FP32: Final = 4.0


def shard_counts() -> list[pl.Expr]:
    """Ranks that share weights, gradients and optimizer states: `weight_shards`, ..."""
    ranks = (pl.col("data_parallel_size") * pl.col("context_parallel_size")).cast(pl.Float64)
    in_node = (
        pl.when(pl.col("sharding") == "hsdp").then(ranks / pl.col("nodes").clip(1)).otherwise(ranks)
    )
    one = pl.lit(1.0)
    return [
        pl.when("is_sharded").then(in_node).otherwise(one).alias("weight_shards"),
        pl.when(pl.col("sharding").is_in(SHARDS_GRADIENTS))
        .then(in_node)
        .otherwise(one)
        .alias("gradient_shards"),
        pl.when(pl.col("sharding").is_in(SHARDS_OPTIMIZER))
        .then(in_node)
        .otherwise(one)
        .alias("optimizer_shards"),
    ]


def resident_weights() -> pl.Expr:
    """Shard of the base weights that stays on the GPU; none of it where it is offloaded."""
    resident = pl.col("base_bytes") / pl.col("weight_shards")
    away = pl.col("is_sharded") & pl.col("offload").is_in(["cpu", "nvme"])
    return pl.when(away).then(0.0).otherwise(resident)


def gathered_layer() -> pl.Expr:
    """Whole layers that FSDP or ZeRO-3 holds while it computes: the current and prefetched ones.

    In the compute dtype, or as stored where the base is quantised.
    """
    plain = pl.col("largest_layer_parameters") / pl.col("tensor_parallel_size")
    dense = plain * pl.col("compute_element_bytes")
    quantised = pl.col("layer_stored_bytes")
    layer = pl.min_horizontal(
        dense, quantised * (pl.col("compute_element_bytes") / pl.col("stored_element_bytes"))
    )
    layer = pl.when(pl.col("method") == "qlora").then(quantised).otherwise(layer)
    held = layer * (1.0 + pl.col("prefetched_layers"))
    return pl.when(pl.col("weight_shards") > 1).then(held).otherwise(0.0)


def gathered_root() -> pl.Expr:
    """Embedding and head, gathered together for the whole step where they form FSDP's root unit."""
    copies = pl.when("tied_embeddings").then(1.0).otherwise(2.0)
    elements = pl.col("embedding_on_rank") * copies
    root = elements * pl.max_horizontal("compute_element_bytes", pl.lit(2.0))
    held = pl.col("fsdp_root_holds_embeddings") & (pl.col("weight_shards") > 1)
    return pl.when(held).then(root).otherwise(0.0)


def communication_buffers() -> pl.Expr:
    """Buckets of DDP (a flat copy of the gradients) and of ZeRO (`bucket_bytes` of the preset)."""
    gradients = pl.col("trained_parameters") * pl.col("gradient_element_bytes")
    several = pl.col("data_parallel_size") > 1
    ddp = several & (pl.col("sharding").is_in(["ddp", "none"]))
    zero = several & pl.col("sharding").is_in(["zero1", "zero2", "zero3"])
    bucket = pl.min_horizontal(pl.col("bucket_bytes").cast(pl.Float64), gradients)
    return pl.when(ddp).then(gradients).when(zero).then(bucket).otherwise(0.0)
