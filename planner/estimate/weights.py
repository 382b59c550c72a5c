"""Weights: bytes of every tensor in its storage format, cut into the ranks of a parallel layout.

Three steps, each on the smallest frame that knows the answer: bytes per (model, weight format,
decoder layer, kind of cut); their sums per pipeline stage; the share of one tensor- or
expert-parallel rank.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.allocation import slack_of_weights
from planner.resolve.tables import Tables

LAYOUT: Final = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "expert_parallel_size",
    "vocab_padding",
    "expert_padding",
)
JOIN_KEYS: Final = ("model", "weight_format", *LAYOUT, "is_fused")
GROUPS: Final = ("embedding", "lm_head", "norm", "experts", "quantised", "rest")
CHECKPOINT: Final = "checkpoint"
DEFAULT_BITS: Final = 16.0
_DTYPE_BITS: Final = {"fp32": 32.0, "float32": 32.0, "fp8": 8.0, "float8_e4m3fn": 8.0}
_CUT: Final = (
    "split",
    "num_key_value_heads",
    "num_experts",
    "vocabulary_rows",
    "narrow_expert_width",
)
GGUF_BITS: Final = {
    "q_proj": "attn_q_bits",
    "k_proj": "attn_k_bits",
    "v_proj": "attn_v_bits",
    "o_proj": "attn_output_bits",
    "gate_proj": "ffn_gate_bits",
    "up_proj": "ffn_up_bits",
    "down_proj": "ffn_down_bits",
}
"""Leaf of a linear -> the column with its bits in a GGUF mix; others take the format's mean."""


def weights_by_rank(tables: Tables, wanted: pl.LazyFrame) -> pl.LazyFrame:
    """Bytes of weights on the most loaded rank of each layout.

    `wanted` has the columns `model`, `weight_format` (a format id, or `checkpoint` for the weights
    as they are stored), `tensor_parallel_size`, `pipeline_parallel_size`, `expert_parallel_size`
    and optionally `vocab_padding` (rows of the vocabulary are padded to a multiple of it; 1),
    `expert_padding` (a rank's width of an expert in MXFP4 is padded to a multiple of it; 1) and
    `is_fused` (q, k, v and gate, up are one tensor each).

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
    keys = ["model", "weight_format", "pipeline_parallel_size"]
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
    if "is_fused" not in have:
        exprs.append(pl.lit(False).alias("is_fused"))
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


def stored_tensors(tables: Tables, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Every tensor group of the (model, weight_format) in `pairs` with its stored size.

    Adds to the columns of the tensors table: `stored_format` (null for plain 16 or 32 bits),
    `bytes` of one copy, `payload_bytes` without scales, `group`, and how it is cut, with the
    heads and experts of its first layer.
    """
    heads = tables.layers.select(
        "model",
        "num_key_value_heads",
        "num_experts",
        "moe_intermediate_size",
        first_layer="layer_index",
    )
    return (
        _with_stored_format(tables, pairs)
        .with_columns(*_tensor_bytes(), first_layer=pl.col("layers").list.first())
        .join(heads, on=["model", "first_layer"], how="left")
        .with_columns(split=cut_of_tensor())
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


def cut_of_tensor() -> pl.Expr:
    """How tensor parallelism cuts a tensor; vLLM and SGLang cut the linears of towers too."""
    tower_linear = (pl.col("role") == "multimodal") & (pl.col("kind") == "linear")
    uncut = pl.col("split") == "replicated"
    return pl.when(tower_linear & uncut).then(pl.lit("column")).otherwise("split")


def _with_stored_format(tables: Tables, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Each tensor with the format it is stored in, null for plain 16 or 32 bits."""
    owned = (
        tables.tensors.filter(pl.col("checkpoint_format").is_not_null())
        .select("model", weight_format="checkpoint_format")
        .unique()
        .with_columns(is_checkpoint_format=pl.lit(True))
    )
    rules = tables.formats.select(
        "weight_format",
        "family",
        "bits_per_weight",
        "embedding_bits",
        "lm_head_bits",
        "kept_16bit_roles",
    )
    as_stored = (pl.col("weight_format") == CHECKPOINT) | pl.col("is_checkpoint_format").fill_null(
        False
    )
    have = tables.formats.collect_schema().names()
    layout = tables.formats.select(
        *(name for name in GGUF_BITS.values() if name in have),
        stored_format="weight_format",
        stored_family="family",
        stored_bits="bits_per_parameter",
        payload_bits="bits_per_weight",
        channel_bits="per_channel_scale_bits",
        tensor_bits="per_tensor_bits" if "per_tensor_bits" in have else pl.lit(0.0),
    )
    return (
        pairs.join(owned, on=["model", "weight_format"], how="left")
        .join(rules, on="weight_format", how="left")
        .filter(pl.col("family").is_not_null() | (pl.col("weight_format") == CHECKPOINT))
        .join(tables.models.select("model", "dtype"), on="model", how="left")
        .with_columns(as_stored=as_stored)
        .join(tables.tensors, on="model")
        .with_columns(stored_format=_stored_format())
        .join(layout, on="stored_format", how="left")
        .with_columns(stored_bits=_bits_of_leaf([c for c in GGUF_BITS.values() if c in have]))
    )


def _bits_of_leaf(columns: list[str]) -> pl.Expr:
    """Bits of a linear: its own in a GGUF mix, else the format's."""
    named = [
        pl.when(pl.col("leaf") == leaf).then(column)
        for leaf, column in GGUF_BITS.items()
        if column in columns
    ]
    return pl.coalesce(*(name.otherwise(None) for name in named), "stored_bits")


def _stored_format() -> pl.Expr:
    """The checkpoint's own format, or the wanted one where its rules quantise this tensor."""
    linear = pl.col("kind").is_in(["linear", "experts"]) & ~pl.col("role").is_in(
        ["lm_head", "multimodal"]
    )
    kept = pl.col("role").is_in(pl.col("kept_16bit_roles")).fill_null(False)
    quantised = linear & ~kept & (pl.col("family") != "float")
    return (
        pl.when("as_stored")
        .then("checkpoint_format")
        .when(quantised)
        .then("weight_format")
        .otherwise(None)
    )


def _tensor_bytes() -> list[pl.Expr]:
    """Bytes of one copy of a tensor, and the group it is reported under."""
    plain_bits = (
        pl.when("as_stored")
        .then(pl.col("dtype").replace_strict(_DTYPE_BITS, default=DEFAULT_BITS))
        .when(pl.col("family") == "float")
        .then("bits_per_weight")
        .when(pl.col("role") == "embedding")
        .then(pl.col("embedding_bits").fill_null(DEFAULT_BITS))
        .when(pl.col("role") == "lm_head")
        .then(pl.col("lm_head_bits").fill_null(DEFAULT_BITS))
        .otherwise(DEFAULT_BITS)
    )
    channels = (
        pl.when(pl.col("in_features") > 0)
        .then(pl.col("numel") / pl.col("in_features"))
        .otherwise(0.0)
    )
    stored = pl.col("numel") * pl.col("stored_bits") + channels * pl.col("channel_bits").fill_null(
        0.0
    )
    role = pl.col("role")
    group = (
        pl.when(role.is_in(["embedding", "lm_head", "norm"]))
        .then(role)
        .when(role == "routed_experts")
        .then(pl.lit("experts"))
        .when(pl.col("stored_format").is_not_null())
        .then(pl.lit("quantised"))
        .otherwise(pl.lit("rest"))
    )
    plain = pl.col("numel") * plain_bits
    bits = pl.when(pl.col("stored_format").is_not_null()).then(stored).otherwise(plain)
    payload = pl.coalesce("payload_bits", plain_bits) * pl.col("numel")
    return [
        (bits / 8).alias("bytes"),
        (payload / 8).alias("payload_bytes"),
        group.alias("group"),
    ]


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
        .then(stage_of_layer(pl.col("layer_index"), pl.col("num_hidden_layers"), stages))
        .when(last)
        .then(stages - 1)
        .otherwise(0)
    )
    keys = ["model", "weight_format", "pipeline_parallel_size"]
    return (
        layouts.select(keys)
        .unique()
        .join(by_layer, on=["model", "weight_format"])
        .join(tables.models.select("model", "num_hidden_layers"), on="model")
        .filter(~pl.col("tied") | (stages > 1))
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
