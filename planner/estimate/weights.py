"""Weights: bytes of every tensor in its storage format, cut into the ranks of a parallel layout.

Three steps, each on the smallest frame that knows the answer: bytes per (model, weight format,
decoder layer, kind of cut); their sums per pipeline stage; the share of one tensor- or
expert-parallel rank.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.allocation import slack_of_weights
from planner.estimate.stored import CHECKPOINT, stored_tensors
from planner.resolve.tables import Tables

__all__ = ["CHECKPOINT", "stored_tensors", "weights_by_rank"]

LAYOUT: Final = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "expert_parallel_size",
    "vocab_padding",
    "expert_padding",
)
SPLIT_EVEN: Final = "even"
SPLIT_WITH_OUTPUT: Final = "with-output"
_PLACEMENT: Final = ("layer_split", "leaves_embedding")
_SWITCHES: Final = ("is_fused", "has_single_experts", "leaves_embedding")
JOIN_KEYS: Final = ("model", "weight_format", *LAYOUT, *_SWITCHES, "layer_split")
GROUPS: Final = ("embedding", "lm_head", "norm", "experts", "quantised", "rest")
_CUT: Final = (
    "split",
    "num_key_value_heads",
    "num_experts",
    "vocabulary_rows",
    "narrow_expert_width",
)


def weights_by_rank(tables: Tables, wanted: pl.LazyFrame) -> pl.LazyFrame:
    """Bytes of weights on the most loaded rank of each layout.

    `wanted` has the columns `model`, `weight_format` (a format id, or `checkpoint` for the weights
    as they are stored), `tensor_parallel_size`, `pipeline_parallel_size`, `expert_parallel_size`
    and optionally `vocab_padding` (rows of the vocabulary are padded to a multiple of it; 1),
    `expert_padding` (a rank's width of an expert in MXFP4 is padded to a multiple of it; 1),
    `is_fused` (q, k, v and gate, up are one tensor each), `has_single_experts` (every expert is a
    module of its own), `layer_split` (how stages get layers, see stage_by_split; `even`) and
    `leaves_embedding` (the input embedding is on no stage).

    Adds `weights_bytes` (most loaded rank), `first_rank_weights_bytes` (pipeline stage 0),
    `total_weights_bytes` (all ranks of one replica), and the most loaded rank's bytes by group:
    `embedding_weights_bytes`, `lm_head_...`, `norm_...`, `experts_...` (routed), `quantised_...`
    (linears in the quantised format) and `rest_weights_bytes`; `weights_stage` is its stage.
    """
    layouts = _layouts(wanted)
    pairs = layouts.select("model", "weight_format").unique()
    tensors = stored_tensors(tables, pairs)
    by_layer = stored_bytes_by_layer(tensors)
    by_stage = _bytes_by_stage(tables, by_layer, layouts)
    keys = ["model", "weight_format", "pipeline_parallel_size", *_PLACEMENT]
    ranks = (
        layouts.join(by_stage, on=keys)
        .with_columns(rank_bytes=pl.col("bytes") * rank_share())
        .group_by(*JOIN_KEYS, "stage")
        .agg(
            pl.col("rank_bytes").sum().alias("weights_bytes"),
            *(
                pl.col("rank_bytes")
                .filter(pl.col("group") == group)
                .sum()
                .alias(f"{group}_weights_bytes")
                for group in GROUPS
            ),
        )
    )
    slack = slack_of_weights(tensors.with_columns(_cut_sizes()), layouts, rank_share())
    return (
        wanted.with_columns(*_defaults(wanted))
        .join(_most_loaded(ranks), on=list(JOIN_KEYS), how="left")
        .join(slack, on=list(JOIN_KEYS), how="left")
    )


def _defaults(wanted: pl.LazyFrame) -> list[pl.Expr]:
    have = wanted.collect_schema().names()
    exprs = [pl.col(name).fill_null(1).cast(pl.Int64) for name in LAYOUT if name in have]
    exprs += [pl.lit(1, dtype=pl.Int64).alias(name) for name in LAYOUT if name not in have]
    exprs += [pl.lit(False).alias(name) for name in _SWITCHES if name not in have]
    exprs += [pl.lit(SPLIT_EVEN).alias("layer_split")] if "layer_split" not in have else []
    return exprs


def _layouts(wanted: pl.LazyFrame) -> pl.LazyFrame:
    return wanted.with_columns(*_defaults(wanted)).select(*JOIN_KEYS).unique()


def _most_loaded(ranks: pl.LazyFrame) -> pl.LazyFrame:
    heaviest = pl.col("weights_bytes").arg_max()
    first = pl.col("weights_bytes").filter(pl.col("stage") == 0).first()
    return ranks.group_by(*JOIN_KEYS).agg(
        pl.col("weights_bytes").max().alias("weights_bytes"),
        first.alias("first_rank_weights_bytes"),
        (pl.col("weights_bytes").sum() * pl.col("tensor_parallel_size").first()).alias(
            "total_weights_bytes"
        ),
        pl.col("stage").get(heaviest).alias("weights_stage"),
        *(pl.col(f"{group}_weights_bytes").get(heaviest) for group in GROUPS),
    )


def _cut_sizes() -> list[pl.Expr]:
    """The sizes a cut needs, 0 where it does not: so that tensors cut alike sum up."""
    split = pl.col("split")
    return [
        pl.when(split == "kv").then("num_key_value_heads").otherwise(0).alias(_CUT[1]),
        pl.when(split == "experts").then("num_experts").otherwise(0).alias(_CUT[2]),
        pl.when(split == "vocab").then(pl.col("shape").list.first()).otherwise(0).alias(_CUT[3]),
        pl.when((split == "experts") & (pl.col("stored_format") == "mxfp4"))
        .then("moe_intermediate_size")
        .otherwise(0)
        .alias(_CUT[4]),
    ]


def stored_bytes_by_layer(tensors: pl.LazyFrame) -> pl.LazyFrame:
    """Bytes of all tensors of one layer that are cut alike, at tensor parallelism 1.

    `tensors` as stored_tensors gives them. One row per model, weight format, decoder layer
    (`layer_index`; null outside the stack), group, cut (`split` with the sizes it needs), and
    `tied` (storage shared with another tensor: only a pipeline's last stage holds a copy).
    """
    sized = tensors.with_columns(_cut_sizes())
    in_stack = sized.filter(pl.col("layers").list.len() > 0).explode("layers")
    outside = sized.filter(pl.col("layers").list.len() == 0).with_columns(
        pl.col("bytes") * pl.col("copies"), layers=pl.lit(None, dtype=pl.Int64)
    )
    return (
        pl.concat([in_stack, outside], how="vertical_relaxed")
        .rename({"layers": "layer_index"})
        .group_by("model", "weight_format", "layer_index", "group", "role", "tied", *_CUT)
        .agg(pl.col("bytes").sum())
    )


def stage_by_split() -> pl.Expr:
    """Pipeline stage of a decoder layer, by `layer_split`.

    `even`, see stage_of_layer, or `with-output`: the output counts as one more layer (llama.cpp).
    """
    layer, layers = pl.col("layer_index"), pl.col("num_hidden_layers")
    stages = pl.col("pipeline_parallel_size")
    return (
        pl.when(pl.col("layer_split") == SPLIT_WITH_OUTPUT)
        .then(layer * stages // (layers + 1))
        .otherwise(stage_of_layer(layer, layers, stages))
    )


def stage_of_layer(layer: pl.Expr, layers: pl.Expr, stages: pl.Expr) -> pl.Expr:
    """Pipeline stage of a decoder layer: even, the remainder from the last stage but one down.

    vLLM `get_pp_indices` and Megatron agree where it divides evenly.
    """
    base, remainder = layers // stages, layers % stages
    plain = stages - 1 - remainder
    behind = layer - plain * base
    return (
        pl.when(stages == 1)
        .then(0)
        .when(behind < 0)
        .then(layer // pl.max_horizontal(base, 1))
        .otherwise(pl.min_horizontal(plain + behind // (base + 1), stages - 1))
    ).cast(pl.Int64)


def _bytes_by_stage(tables: Tables, by_layer: pl.LazyFrame, layouts: pl.LazyFrame) -> pl.LazyFrame:
    """Sums per pipeline stage; embedding and towers first, head and final norm last."""
    stages = pl.col("pipeline_parallel_size")
    last = pl.col("role").is_in(["lm_head", "norm"])
    stage = (
        pl.when(pl.col("layer_index").is_not_null())
        .then(stage_by_split())
        .when(last)
        .then(stages - 1)
        .otherwise(0)
    )
    keys = ["model", "weight_format", "pipeline_parallel_size", *_PLACEMENT]
    left = pl.col("leaves_embedding") & (pl.col("group") == "embedding")
    return (
        layouts.select(keys)
        .unique()
        .join(by_layer, on=["model", "weight_format"])
        .join(tables.models.select("model", "num_hidden_layers"), on="model")
        .filter((~pl.col("tied") | (stages > 1)) & ~left)
        .with_columns(stage=stage)
        .group_by(*keys, "stage", "group", "role", *_CUT)
        .agg(pl.col("bytes").sum())
    )


def rank_share() -> pl.Expr:
    """Share of a tensor that one rank holds, by how tensor and expert parallelism cut it.

    A rank keeps at least one key-value head; vocabulary rows are padded; with expert parallelism
    a rank holds whole experts, cut further where tensor parallelism is larger (moe_tp = tp / ep).
    """
    tp, ep = pl.col("tensor_parallel_size"), pl.col("expert_parallel_size")
    padding = pl.col("vocab_padding")
    heads, experts, rows = (pl.col(name) for name in _CUT[1:4])
    padded = (rows + padding - 1) // padding * padding
    moe_tp = pl.max_horizontal(tp // ep, 1)
    whole_experts = (experts + ep - 1) // ep / experts / moe_tp
    split = pl.col("split")
    width = pl.col("narrow_expert_width") / pl.when(ep > 1).then(moe_tp).otherwise(tp)
    unit = pl.col("expert_padding")
    wider = (
        pl.when((split == "experts") & (width > 0) & (unit > 1))
        .then((width / unit).ceil() * unit / width)
        .otherwise(1.0)
    )
    share = (
        pl.when((split == "kv") & (heads > 0))
        .then(pl.max_horizontal(1 / tp, 1 / heads))
        .when((split == "vocab") & (rows > 0))
        .then(((padded + tp - 1) // tp) / rows)
        .when((split == "experts") & (experts > 0) & (ep > 1))
        .then(whole_experts)
        .when(split == "replicated")
        .then(1.0)
        .otherwise(1 / tp)
    )
    return share * wider
