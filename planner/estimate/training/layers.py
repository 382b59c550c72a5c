"""Layer kinds of each model, and the widths of one layer on one rank.

Layers of a model that are alike become one row with a count, so an activation case costs one row
per kind and not one per layer.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.resolve.tables import Tables

ATTENTION_MIXERS: Final = ("full", "sliding", "chunked", "mla", "cross")
LAYER_FIELDS: Final = (
    "mixer",
    "window_tokens",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "v_head_dim",
    "kv_lora_rank",
    "qk_rope_head_dim",
    "q_lora_rank",
    "ssm_state_elements",
    "qk_norm",
    "softcap",
    "fused_qkv",
    "mlp",
    "fused_gate_up",
    "intermediate_size",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_intermediate_size",
    "norms",
    "layer_norm",
    "parallel_residual",
    "norm_weight_fp32",
    "composed_activation",
    "residual_dropout",
    "attention_dropout",
)


def layer_kinds(tables: Tables) -> pl.LazyFrame:
    """One row per model and kind of layer: its fields, `layer_count`, `layers_of_model`."""
    kinds = tables.layers.group_by("model", *LAYER_FIELDS).agg(
        layer_count=pl.len().cast(pl.Float64)
    )
    sizes = tables.models.select("model", hidden=pl.col("hidden_size").cast(pl.Float64))
    return (
        kinds.with_columns(layers_of_model=pl.col("layer_count").sum().over("model"))
        .join(sizes, on="model")
        .join(learned_positions(tables), on="model", how="left")
        .with_columns(rotary=~pl.col("learned_positions").fill_null(False))
    )


def learned_positions(tables: Tables) -> pl.LazyFrame:
    """Models whose positions are an embedding table: they rotate no queries and keys."""
    vocabulary = tables.models.select("model", "vocab_size")
    return (
        tables.tensors.filter((pl.col("kind") == "embedding") & (pl.col("split") != "vocab"))
        .join(vocabulary, on="model")
        .select("model")
        .unique()
        .with_columns(learned_positions=pl.lit(True))
    )


def layer_parameters(tables: Tables) -> pl.LazyFrame:
    """Parameters of the largest layer of each model, and of all layers: what FSDP gathers."""
    return (
        tables.tensors.filter((pl.col("layers").list.len() > 0) & ~pl.col("tied"))
        .select("model", "layers", numel=pl.col("numel").cast(pl.Float64))
        .explode("layers")
        .group_by("model", "layers")
        .agg(pl.col("numel").sum())
        .group_by("model")
        .agg(
            largest_layer_parameters=pl.col("numel").max(),
            first_layer_parameters=pl.col("numel").sort_by("layers").first(),
            stack_parameters=pl.col("numel").sum(),
        )
    )


def rank_widths() -> list[pl.Expr]:
    """Widths of one layer on one tensor-parallel rank, in elements.

    Heads, the MLP's inner width and experts are cut; a rank keeps at least one key-value head. MLA
    trains with expanded keys and values per head. The hidden width is cut only outside the cut
    blocks, and only with sequence parallelism, which the caller applies to tokens.
    """
    tp = pl.col("tensor_parallel_size").cast(pl.Float64)
    heads = pl.col("num_attention_heads") / tp
    kv = (
        pl.when(pl.col("mixer") == "mla")
        .then(pl.col("num_attention_heads"))
        .otherwise(pl.col("num_key_value_heads"))
    )
    kv_rank = (kv / tp).clip(lower_bound=pl.min_horizontal(kv, pl.lit(1)).cast(pl.Float64))
    width = pl.col("head_dim").cast(pl.Float64)
    value = pl.when(pl.col("v_head_dim") > 0).then(pl.col("v_head_dim")).otherwise("head_dim")
    return [
        heads.alias("heads"),
        kv_rank.alias("kv_heads"),
        (heads * width).alias("query_width"),
        (kv_rank * width).alias("key_width"),
        (kv_rank * value).alias("value_width"),
        (heads * value).alias("output_width"),
        (pl.col("intermediate_size") / tp).alias("inner"),
        (pl.col("shared_intermediate_size") / tp).alias("shared_inner"),
        (pl.col("moe_intermediate_size") / _expert_cut()).alias("expert_inner"),
        pl.col("num_experts_per_tok").cast(pl.Float64).alias("top_k"),
        pl.col("mixer").is_in(ATTENTION_MIXERS).alias("has_attention"),
        _key_tokens().alias("key_tokens"),
        # The kernels' grouped-query option needs no mask and a card with flash attention.
        (
            pl.col("kv_repeats") & (pl.col("num_key_value_heads") < pl.col("num_attention_heads"))
        ).alias("kv_repeated"),
        pl.lit(1.0).alias("routed_share"),
    ]


def _expert_cut() -> pl.Expr:
    """Experts' inner width is cut by tensor parallelism unless whole experts are dealt out."""
    tp = pl.col("tensor_parallel_size").cast(pl.Float64)
    return pl.when(pl.col("expert_parallel_size") > 1).then(1.0).otherwise(tp)


def _key_tokens() -> pl.Expr:
    """Keys that a query's row of the score matrix spans: eager keeps masked ones as well."""
    return pl.col("sequence_tokens").cast(pl.Float64)
