"""Facts the inference formulas read of models, cards and formats, one row each."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from planner.estimate.weights import CHECKPOINT
from planner.resolve.tables import Tables

_SEPARATE_PROJECTIONS: Final = ("q_proj", "k_proj", "v_proj")
_GPU_FACTS: Final = (
    "compute_capability",
    "interconnect",
    "interconnect_bytes_per_second",
    "vendor",
)


def gpu_facts(tables: Tables) -> pl.LazyFrame:
    have = tables.gpus.collect_schema().names()
    if "gpu" not in have:
        empty: dict[str, Any] = dict.fromkeys(("gpu", "interconnect", "vendor"), pl.String)
        return pl.LazyFrame(
            schema=empty | dict.fromkeys(("compute_capability", _GPU_FACTS[2]), pl.Float64)
        )
    return tables.gpus.select("gpu", *(name for name in _GPU_FACTS if name in have))


def stored_facts(tables: Tables) -> pl.LazyFrame:
    """Families of the formats that a pre-quantised checkpoint stores its linears and experts in.

    And the bits of its linears, scales of groups counted.
    """
    families = tables.formats.select(
        checkpoint_format="weight_format", stored_family="family", own_bits="bits_per_parameter"
    )
    experts = pl.col("role") == "routed_experts"
    return (
        tables.tensors.filter(pl.col("checkpoint_format").is_not_null())
        .join(families, on="checkpoint_format", how="left")
        .group_by("model")
        .agg(
            pl.col("stored_family", "own_bits").sort_by("numel").last(),
            pl.col("stored_family").filter(experts).first().alias("stored_expert_family"),
        )
    )


def format_facts(tables: Tables) -> pl.LazyFrame:
    return tables.formats.select(
        "weight_format",
        format_family="family",
        stored_bits="bits_per_weight",
        format_bits="bits_per_parameter",
    )


def format_columns() -> list[pl.Expr]:
    """Family of the weights as they are run, and whether experts are 4-bit floats."""
    stored = pl.col("weight_format") == CHECKPOINT
    experts = pl.when(stored).then("stored_expert_family").otherwise("format_family")
    return [
        pl.when(stored).then("stored_family").otherwise("format_family").alias("weight_family"),
        pl.when(stored).then("own_bits").otherwise("format_bits").alias("held_bits"),
        (experts == "fp4").fill_null(False).alias("has_narrow_experts"),
    ]


def model_facts(tables: Tables) -> pl.LazyFrame:
    """Per model: sizes, the widest dense MLP, the experts' widths and the rotary width."""
    moe = pl.col("num_experts") > 0
    layers = tables.layers.group_by("model").agg(
        pl.col("intermediate_size").max().alias("widest_mlp"),
        pl.col("shared_intermediate_size").max().alias("shared_width"),
        pl.col("moe_intermediate_size").filter(moe).max().fill_null(0).alias("expert_width"),
        pl.col("num_experts_per_tok").filter(moe).max().fill_null(0).alias("experts_per_token"),
        moe.sum().cast(pl.Int64).alias("moe_layers"),
        pl.col("num_attention_heads").max().alias("most_heads"),
        (
            pl.col("head_dim")
            * (pl.col("num_attention_heads") + pl.col("num_key_value_heads"))
            * pl.col("fused_qkv").cast(pl.Int64)
        )
        .sum()
        .alias("fused_query_key_elements"),
        (pl.col("num_attention_heads") / pl.col("num_key_value_heads"))
        .filter(pl.col("num_key_value_heads") > 1)
        .max()
        .alias("queries_per_group"),
        pl.when(pl.col("qk_rope_head_dim") > 0)
        .then("qk_rope_head_dim")
        .otherwise("head_dim")
        .max()
        .alias("rotary_width"),
        pl.col("kv_expanded_elements_per_token").max().alias("expanded_layer_elements"),
        (pl.col("num_attention_heads") * pl.col("kv_lora_rank") * 2 * pl.col("v_head_dim"))
        .sum()
        .alias("absorbed_elements"),
        (pl.col("num_attention_heads") * pl.col("kv_lora_rank"))
        .sum()
        .alias("latent_head_elements"),
        (pl.col("num_attention_heads") * pl.col("qk_rope_head_dim"))
        .filter(pl.col("kv_lora_rank") > 0)
        .sum()
        .alias("rotary_head_elements"),
        pl.col("kv_elements_per_token")
        .filter(pl.col("kv_lora_rank") > 0)
        .max()
        .alias("latent_elements"),
        (pl.col("kv_lora_rank").max() > 0).alias("has_mla"),
        (
            pl.col("kv_expanded_elements_per_token")
            - pl.col("num_attention_heads") * pl.col("qk_rope_head_dim")
        )
        .filter(pl.col("kv_lora_rank") > 0)
        .max()
        .fill_null(0)
        .alias("latent_outputs"),
        pl.col("indexer_elements_per_token").max().alias("largest_indexer_elements"),
        (pl.col("ssm_state_elements") + pl.col("conv_state_elements") > 0)
        .any()
        .alias("has_recurrent_state"),
    )
    linear = (pl.col("kind") == "linear") & ~pl.col("role").is_in(["lm_head", "multimodal"])
    column = linear & pl.col("split").is_in(["column", "kv"])
    row = linear & (pl.col("split") == "row")
    largest = tables.tensors.group_by("model").agg(
        pl.col("numel").filter(linear).max().fill_null(0).alias("largest_linear_elements"),
        (pl.col("numel") * pl.col("count"))
        .filter(linear & pl.col("leaf").is_in(_SEPARATE_PROJECTIONS))
        .sum()
        .alias("separate_projection_elements"),
        pl.col("in_features")
        .filter(pl.col("leaf").is_in(["q_b_proj", "q_proj"]))
        .max()
        .alias("query_features"),
        *(
            (pl.col(f"{side}_features") * pl.col("count"))
            .filter(kind)
            .sum()
            .alias(f"{name}_{side}")
            for name, kind in (("column", column), ("row", row))
            for side in ("in", "out")
        ),
    )
    sizes = tables.models.select(
        "model",
        "model_type",
        "hidden_size",
        "vocab_size",
        "num_hidden_layers",
        "dtype",
        "max_position_embeddings",
        "embedding_parameters",
        "tied_embeddings",
        "tied_silently",
        "state_element_bytes_named",
        "rotary_table_elements",
        "multimodal_parameters",
        (pl.col("multimodal_parameters") > 0).alias("has_towers"),
        pl.col("^encoder_.*$"),
    )
    return sizes.join(layers, on="model", how="left").join(largest, on="model", how="left")
