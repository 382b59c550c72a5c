"""Block types of a GGUF mix: which tensors of which layers llama-quantize stores otherwise.

A mix (`q4_k_m`) names a block type and raises or lowers some tensors. The rules here are those of
`llama_tensor_get_type` in llama.cpp's src/llama-quant.cpp, with an importance matrix for the IQ
mixes, as published files have one. Tensors that no rule names keep the mix's own type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from planner.resolve.gguf import BLOCKS
from planner.resolve.tables import Tables

BLOCK_BITS: Final = {name: 8 * size / length for name, length, size in BLOCKS.values()}
"""ggml block type -> bits of a weight, scales counted."""
UNQUANTISED_BITS: Final = 32.0
"""Norms, biases, routers and convolutions are stored in F32."""

_TENSORS: Final = {
    "attn_v": ("v_proj", "attn_v"),
    "attn_k": ("k_proj", "attn_k"),
    "attn_q": ("q_proj", "attn_q"),
    "attn_qkv": ("qkv_proj", "query_key_value", "c_attn", "W_pack", "attn_qkv"),
    "attn_output": ("o_proj", "dense", "attn_output"),
    "ffn_gate": ("gate_proj", "w1", "ffn_gate", "ffn_gate_exps", "ffn_gate_shexp"),
    "ffn_up": (
        *("up_proj", "w3", "gate_up_proj", "fc1", "fc_in", "c_fc", "dense_h_to_4h"),
        *("input_linear", "ffn_up", "ffn_up_exps", "ffn_up_shexp"),
    ),
    "ffn_down": (
        *("down_proj", "w2", "fc2", "fc_out", "dense_4h_to_h", "output_linear"),
        *("ffn_down", "ffn_down_exps", "ffn_down_shexp"),
    ),
}
"""GGUF's name of a tensor -> leaves of the modules that are converted to it."""
_BY_ROLE: Final = {
    ("attention", "c_proj"): "attn_output",
    ("attention", "out_proj"): "attn_output",
    ("mlp", "c_proj"): "ffn_down",
}
"""Leaves that name different tensors in attention and MLP."""

Where = Literal["all", "first 2", "first 4", "first 1/16", "first 1/8", "more bits", "middle"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The block type of some tensors of some layers; of several rules that match, the first.

    Attributes:
        mixes: format ids of the catalog.
        tensors: GGUF's names of them, without `.weight`.
        block: their ggml block type.
        where: the layers. `more bits` are the first and last eighth and every third between
            (`use_more_bits`); `middle` all but the first and last eighth.
        min_group: only of models with at least that many query heads a key-value head.
        experts: only of models with that many experts a layer; min_experts: with at least as many.
    """

    mixes: tuple[str, ...]
    tensors: tuple[str, ...]
    block: str
    where: Where = "all"
    min_group: int = 0
    experts: int | None = None
    min_experts: int = 0


_IQ12: Final = ("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs")
_IQ2: Final = ("iq2_s", "iq2_m")
_HIGH_OUTPUT: Final = (
    *("q2_k", "q3_k_s", "q3_k_m", "q4_k_s", "q4_k_m"),
    *("iq3_xxs", "iq3_xs", "iq3_s", "iq3_m", "iq4_nl", "iq4_xs"),
)
_OTHER: Final = (
    *_HIGH_OUTPUT,
    "q3_k_l",
    "q4_0",
    "q4_1",
    "q5_0",
    "q5_1",
    "q5_k_s",
    "q5_k_m",
    "q6_k",
)
_Q: Final = ("attn_q", "attn_k")
_V, _OUTPUT, _QKV, _DOWN = ("attn_v",), ("attn_output",), ("attn_qkv",), ("ffn_down",)

RULES: Final[tuple[Rule, ...]] = (
    # Eight experts: attention is small beside them.
    Rule(_OTHER, ("attn_v", "attn_k"), "Q8_0", experts=8),
    Rule((*_IQ12, *_IQ2), ("attn_v", "attn_k"), "Q4_K", experts=8),
    Rule((*_HIGH_OUTPUT, *_IQ12, *_IQ2), _OUTPUT, "Q5_K", experts=8),
    Rule(("q3_k_l",), _OUTPUT, "Q3_K", experts=8),
    Rule(("iq3_m",), _DOWN, "Q4_K", "more bits", experts=8),
    # Values: few heads carry every query.
    Rule((*_IQ12, *_IQ2, "q2_k", "iq3_xxs", "iq3_xs", "iq3_s"), _V, "Q4_K", min_group=4),
    Rule((*_IQ12, *_IQ2), _V, "Q4_K", min_experts=4),
    Rule(_IQ2, _V, "IQ3_S"),
    Rule(_IQ12, _V, "Q2_K"),
    Rule(("q2_k",), _V, "Q3_K"),
    Rule(("iq3_m",), _V, "Q4_K"),
    Rule(("q3_k_m",), _V, "Q5_K", "first 2"),
    Rule(("q3_k_m",), _V, "Q4_K"),
    Rule(("q3_k_l",), _V, "Q5_K"),
    Rule(("iq4_nl", "iq4_xs"), _V, "Q5_K", min_group=4),
    Rule(("q4_k_m", "q5_k_m"), _V, "Q6_K", "more bits"),
    Rule(("q4_k_s",), _V, "Q5_K", "first 4"),
    # Queries and keys.
    Rule(("iq3_xs",), _Q, "IQ3_XXS"),
    Rule(("iq3_xxs",), _Q, "IQ2_S"),
    # MLP.
    Rule(_IQ2, _DOWN, "IQ3_S", "first 1/8"),
    Rule(_IQ12, _DOWN, "Q2_K", "first 1/8"),
    Rule(("q2_k",), _DOWN, "Q3_K"),
    Rule(("q3_k_m",), _DOWN, "Q5_K", "first 1/16"),
    Rule(("q3_k_m",), _DOWN, "Q4_K"),
    Rule(("q3_k_l",), _DOWN, "Q5_K"),
    Rule(("iq3_m",), _DOWN, "Q4_K", "first 1/8"),
    Rule(("q4_k_m", "q5_k_m"), _DOWN, "Q6_K", "more bits"),
    Rule(("q4_k_s",), _DOWN, "Q5_K", "first 1/8"),
    Rule(("iq3_xs",), ("ffn_gate", "ffn_up"), "IQ3_XXS", "middle"),
    # Attention's output, and its inputs where they are one tensor.
    Rule(("iq1_s", "iq1_m"), _OUTPUT, "IQ2_XXS"),
    Rule((*_IQ2, "iq3_xxs"), _OUTPUT, "IQ3_S"),
    Rule(("q2_k",), _OUTPUT, "Q3_K"),
    Rule(("q3_k_m", "iq3_m"), _OUTPUT, "Q4_K"),
    Rule(("q3_k_l",), _OUTPUT, "Q5_K"),
    Rule(("q3_k_m", "q3_k_l", "iq3_m"), _QKV, "Q4_K"),
    Rule(("q4_k_m",), _QKV, "Q5_K"),
    Rule(("q5_k_m",), _QKV, "Q6_K"),
)
"""What llama-quantize stores in another block type than the mix's own."""

OWN_BLOCKS: Final = {
    "q2_k": "Q2_K", "q3_k_s": "Q3_K", "q3_k_m": "Q3_K", "q3_k_l": "Q3_K",
    "q4_k_s": "Q4_K", "q4_k_m": "Q4_K", "q5_k_s": "Q5_K", "q5_k_m": "Q5_K", "q6_k": "Q6_K",
    "q4_0": "Q4_0", "q4_1": "Q4_1", "q5_0": "Q5_0", "q5_1": "Q5_1", "q8_0": "Q8_0",
    "iq1_s": "IQ1_S", "iq1_m": "IQ1_M", "iq2_xxs": "IQ2_XXS", "iq2_xs": "IQ2_XS",
    "iq2_s": "IQ2_XS", "iq2_m": "IQ2_S", "iq3_xxs": "IQ3_XXS", "iq3_xs": "IQ3_S",
    "iq3_s": "IQ3_S", "iq3_m": "IQ3_S", "iq4_nl": "IQ4_NL", "iq4_xs": "IQ4_XS",
}  # fmt: skip
"""Mix -> the block type of what no rule names."""

TABLE_BLOCKS: Final = {
    **dict.fromkeys(_IQ12, "Q2_K"),
    **dict.fromkeys((*_IQ2, "iq3_xxs"), "IQ3_S"),
}
"""Mix -> the block type of its token table where that is not the mix's own."""
OUTPUT_BLOCKS: Final = {
    **dict.fromkeys(OWN_BLOCKS, "Q6_K"),
    **dict.fromkeys((*_IQ12, *_IQ2, "iq3_xxs"), "Q5_K"),
    "q8_0": "Q8_0",
}
"""Mix -> the block type of the output, and of the token table that is the output too."""

_WIDE_BLOCK: Final = 256
_NARROW: Final = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S"), "IQ4_NL"),
    **dict.fromkeys(("IQ3_XXS", "IQ3_S", "IQ4_XS", "Q2_K", "Q3_K"), "IQ4_NL"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""Type with blocks of 256 weights -> the one that rows take which 256 does not divide."""

_LARGE_LAYERS: Final = 80
_LARGE_GROUP: Final = 8
"""The 80 layers and 8 queries a key-value head by which llama.cpp tells its type 70B."""
_RAISED: Final = ("Q3_K", "Q4_K")
_RAISED_TO: Final = "Q5_K"
"""What values of that type are stored in instead (not in the mixes of one and two bits)."""


def with_mix_bits(tensors: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Tensors with the bits that a GGUF mix stores each of them in.

    `tensors` has the columns of the tensors table, `weight_format`, `stored_format`, `stored_bits`,
    `embedding_bits`, `lm_head_bits`; the last three are set where the format is a mix. A group of
    tensors whose layers differ in type becomes one row a type.
    """
    columns = tensors.collect_schema().names()
    known = tensors.join(_model_sizes(tables), on="model", how="left").with_columns(
        mix_tensor=_tensor_name()
    )
    in_stack = _in(pl.col("stored_format")) & (pl.col("layers").list.len() > 0)
    keys = ("model", "weight_format", "tensor_index")
    set_here = (*keys, "layers", "count", "stored_bits")
    ruled = (
        known.filter(in_stack)
        .explode("layers")
        .with_columns(*_place())
        .with_columns(stored_bits=_bits(_fitting(_block_by_rule(), pl.col("in_features"))))
        .group_by(*keys, "stored_bits", maintain_order=True)
        .agg(
            pl.col([name for name in columns if name not in set_here]).first(),
            pl.col("layers"),
            count=pl.len().cast(pl.Int64),
        )
        .select(columns)
    )
    is_mix = _in(pl.col("weight_format"))
    quantised = _in(pl.col("stored_format"))
    own = _fitting(_of_mix(OWN_BLOCKS, "stored_format"), pl.col("in_features"))
    outside = (
        known.filter(~in_stack)
        .with_columns(
            stored_bits=pl.when(quantised).then(_bits(own)).otherwise("stored_bits"),
            embedding_bits=pl.when(is_mix).then(_bits(_table_block())).otherwise("embedding_bits"),
            lm_head_bits=pl.when(is_mix).then(_bits(_output_block())).otherwise("lm_head_bits"),
        )
        .select(columns)
    )
    return pl.concat([ruled, outside], how="vertical_relaxed")


def _in(name: pl.Expr) -> pl.Expr:
    return name.is_in(list(OWN_BLOCKS)).fill_null(False)


def _of_mix(blocks: dict[str, str], column: str) -> pl.Expr:
    return pl.col(column).replace_strict(blocks, default=None, return_dtype=pl.String)


def _bits(block: pl.Expr) -> pl.Expr:
    return block.replace_strict(BLOCK_BITS, default=None, return_dtype=pl.Float64)


def _model_sizes(tables: Tables) -> pl.LazyFrame:
    """What the rules ask of a model: query heads a key-value head, experts, layers, width."""
    heads = pl.col("num_attention_heads") / pl.col("num_key_value_heads")
    sizes = tables.layers.group_by("model").agg(
        group=heads.filter(pl.col("num_key_value_heads") > 0).max().fill_null(1.0),
        experts=pl.col("num_experts").max().fill_null(0),
        depth=(pl.col("layer_index").max() + 1).cast(pl.Int64),
    )
    models = tables.models.select("model", width="hidden_size", one_table="tied_embeddings")
    return models.join(sizes, on="model", how="left").rename(
        {name: f"mix_{name}" for name in ("group", "experts", "depth", "width", "one_table")}
    )


def _tensor_name() -> pl.Expr:
    """GGUF's name of a linear or of a stack of experts, null where no rule knows it."""
    stack = pl.col("name").str.strip_suffix(".weight").str.split(".").list.last()
    leaf = pl.when(pl.col("kind") == "experts").then(stack).otherwise("leaf")
    names = {leaf: name for name, leaves in _TENSORS.items() for leaf in leaves}
    by_role = [
        pl.when((pl.col("role") == role) & (leaf == own)).then(pl.lit(name)).otherwise(None)
        for (role, own), name in _BY_ROLE.items()
    ]
    return pl.coalesce(*by_role, leaf.replace_strict(names, default=None, return_dtype=pl.String))


def _place() -> list[pl.Expr]:
    """Index of a tensor's layer and how many there are, as the rules count.

    Values count the layers with attention alone.
    """
    values = pl.col("mix_tensor") == "attn_v"
    order = pl.col("layers").rank("dense").over("model", "weight_format", "mix_tensor")
    last = order.max().over("model", "weight_format", "mix_tensor")
    return [
        pl.when(values).then(order - 1).otherwise("layers").cast(pl.Int64).alias("mix_layer"),
        pl.when(values).then(last).otherwise("mix_depth").cast(pl.Int64).alias("mix_layers"),
    ]


def _block_by_rule() -> pl.Expr:
    """The block type of the first rule that matches, else the mix's own."""
    found = [pl.when(_matches(rule)).then(pl.lit(rule.block)).otherwise(None) for rule in RULES]
    block = pl.coalesce(*found, _of_mix(OWN_BLOCKS, "stored_format"))
    is_large = (pl.col("mix_depth") == _LARGE_LAYERS) & (pl.col("mix_group") >= _LARGE_GROUP)
    values = (pl.col("mix_tensor") == "attn_v") & ~pl.col("stored_format").is_in([*_IQ12, *_IQ2])
    raised = is_large & values & block.is_in(list(_RAISED))
    return pl.when(raised).then(pl.lit(_RAISED_TO)).otherwise(block)


def _matches(rule: Rule) -> pl.Expr:
    matches = (
        pl.col("stored_format").is_in(list(rule.mixes))
        & pl.col("mix_tensor").is_in(list(rule.tensors))
        & (pl.col("mix_group") >= rule.min_group)
        & (pl.col("mix_experts") >= rule.min_experts)
    )
    if rule.experts is not None:
        matches &= pl.col("mix_experts") == rule.experts
    return matches if rule.where == "all" else matches & _where(rule.where)


def _where(where: Where) -> pl.Expr:
    layer, layers = pl.col("mix_layer"), pl.col("mix_layers")
    first, last = layer < layers // 8, layer >= 7 * layers // 8
    places = {
        "first 2": layer < 2,
        "first 4": layer < 4,
        "first 1/16": layer < layers // 16,
        "first 1/8": first,
        "more bits": first | last | ((layer - layers // 8) % 3 == 2),
        "middle": ~first & ~last,
    }
    return places[where]


def _fitting(block: pl.Expr, row: pl.Expr) -> pl.Expr:
    """The type, or the one with smaller blocks where its own do not divide a row of weights."""
    divides = row % _WIDE_BLOCK == 0
    narrow = block.replace(_NARROW)
    return pl.when(divides).then(block).otherwise(narrow)


def _table_block() -> pl.Expr:
    """The type of an embedding; the token table is the output too where they are one tensor."""
    row = pl.col("shape").list.last()
    own = pl.coalesce(_of_mix(TABLE_BLOCKS, "weight_format"), _of_mix(OWN_BLOCKS, "weight_format"))
    is_output = pl.col("mix_one_table") & (row == pl.col("mix_width"))
    return pl.when(is_output).then(_output_block()).otherwise(_fitting(own, row))


def _output_block() -> pl.Expr:
    """The type of the output: Q8_0 where the mix's own blocks do not divide a row."""
    own = _of_mix(OWN_BLOCKS, "weight_format")
    fits = (pl.col("mix_width") % _WIDE_BLOCK == 0) | ~own.is_in(list(_NARROW))
    return pl.when(fits).then(_of_mix(OUTPUT_BLOCKS, "weight_format")).otherwise(pl.lit("Q8_0"))
