"""Every tensor of a model in the format it is stored in: bits by rule, checkpoint or GGUF mix."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.gguf_mix import UNQUANTISED_BITS, with_mix_bits
from planner.resolve.tables import Tables

CHECKPOINT: Final = "checkpoint"
DEFAULT_BITS: Final = 16.0
_DTYPE_BITS: Final = {"fp32": 32.0, "float32": 32.0, "fp8": 8.0, "float8_e4m3fn": 8.0}
MIX_BITS: Final = {
    "q_proj": "attn_q_bits",
    "k_proj": "attn_k_bits",
    "v_proj": "attn_v_bits",
    "o_proj": "attn_output_bits",
    "gate_proj": "ffn_gate_bits",
    "up_proj": "ffn_up_bits",
    "down_proj": "ffn_down_bits",
}
"""Leaf of a linear -> the column with its bits in a mix that a catalog describes by classes."""


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
    classes = [name for name in MIX_BITS.values() if name in have]
    layout = tables.formats.select(
        *classes,
        stored_format="weight_format",
        stored_family="family",
        stored_bits="bits_per_parameter",
        payload_bits="bits_per_weight",
        channel_bits="per_channel_scale_bits",
        block_bits="block_bits" if "block_bits" in have else "bits_per_parameter",
        tensor_bits="per_tensor_bits" if "per_tensor_bits" in have else pl.lit(0.0),
    )
    stored = (
        pairs.join(owned, on=["model", "weight_format"], how="left")
        .join(rules, on="weight_format", how="left")
        .filter(pl.col("family").is_not_null() | (pl.col("weight_format") == CHECKPOINT))
        .join(tables.models.select("model", "dtype"), on="model", how="left")
        .with_columns(as_stored=as_stored)
        .join(tables.tensors, on="model")
        .with_columns(stored_format=_stored_format())
        .join(layout, on="stored_format", how="left")
        .with_columns(stored_bits=_bits_of_class(classes))
    )
    return with_mix_bits(stored, tables)


def _bits_of_class(classes: list[str]) -> pl.Expr:
    """Bits of a linear: of its class where the mix says so, else of the mix's own blocks.

    Formats without classes have one size for all.
    """
    if not classes:
        return pl.col("stored_bits")
    named = [
        pl.when(pl.col("leaf") == leaf).then(column).otherwise(None)
        for leaf, column in MIX_BITS.items()
        if column in classes
    ]
    is_mix = pl.any_horizontal(pl.col(name).is_not_null() for name in classes)
    own = pl.when(is_mix).then("block_bits").otherwise("stored_bits")
    return pl.coalesce(*named, own)


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
        .when((pl.col("family") == "gguf") & (pl.col("role") != "multimodal"))
        .then(UNQUANTISED_BITS)
        .otherwise(DEFAULT_BITS)
    )
    channels = (
        pl.when(pl.col("in_features") > 0)
        .then(pl.col("numel") / pl.col("in_features"))
        .otherwise(0.0)
    )
    matrices = pl.when(pl.col("kind") == "experts").then(pl.col("shape").list.first()).otherwise(1)
    stored = (
        pl.col("numel") * pl.col("stored_bits")
        + channels * pl.col("channel_bits").fill_null(0.0)
        + matrices * pl.col("tensor_bits").fill_null(0.0)
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
