"""Activations of one rank: what the layers save, and the most that one layer needs at once.

Computed per activation case (the distinct settings that matter) x kind of layer, summed over the
layers, and joined back to the cells.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.training import adapters, attention, checkpointing, mlp, moe, norms
from planner.estimate.training.layers import layer_kinds, rank_widths
from planner.resolve.tables import Tables

CASE_KEYS: Final = (
    "model",
    "is_full",
    "weight_element_bytes",
    "compute_element_bytes",
    "activation_element_bytes",
    "stream_element_bytes",
    "adapter_element_bytes",
    "autocast",
    "attention",
    "kv_repeats",
    "gradient_checkpointing",
    "sequence_tokens",
    "micro_batch_size",
    "lora_rank",
    "lora_targets",
    "lora_dropout",
    "tensor_parallel_size",
    "context_parallel_size",
    "expert_parallel_size",
    "sequence_parallel",
    "kernel_temporaries",
    "half_precision",
    "experts_looped",
    "own_model_code",
    "kbit_saved_hidden_bytes",
    "is_kbit",
)
RECURRENT_TENSORS: Final = 12.0
"""Hidden-size tensors that a recurrent mixer saves per token: an assumption, wide range."""


def activation_cases(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Activation bytes of the distinct activation cases: a table to join on CASE_KEYS.

    Columns, in bytes per micro-batch on one rank: `layers_saved_bytes` (all layers, as the
    checkpointing mode keeps them), `first_layer_missing_bytes`, `layer_recomputed_bytes` (kept
    while one checkpointed layer is recomputed, 0 without), `layer_backward_bytes` (most that one
    layer needs beyond it), `final_norm_bytes`, `final_norm_backward_bytes`, `stream_bytes` (the
    residual stream of one micro-batch), `rank_tokens`, and the adapter sums of the model.
    """
    cases = cells.select(CASE_KEYS).unique()
    sums = adapters.adapter_sums(cases, tables.tensors)
    keys = list(CASE_KEYS)
    by_kind = (
        cases.join(layer_kinds(tables), on="model")
        .join(sums, on=["model", "lora_targets"], how="left")
        .with_columns(_case_columns())
        .with_columns(rank_widths())
        .with_columns(_adapter_columns())
        .with_columns(
            product_shared=pl.max_horizontal(adapters.product_shared(), _own_code()),
            experts_shared=_experts_shared(),
            fused_qkv=pl.col("fused_qkv") & ~pl.col("own_model_code"),
            composed_activation=pl.col("composed_activation") & ~pl.col("own_model_code"),
        )
        .with_columns(saved_mlp_dense=mlp.saved_mlp())
        .with_columns(_block_columns())
        .with_columns(_layer_columns())
    )
    return by_kind.group_by(keys).agg(*_case_sums(), *_adapter_totals())


def _adapter_totals() -> list[pl.Expr]:
    return [pl.col("adapter_in_out").first(), pl.col("adapter_rows").first()]


def _case_columns() -> list[pl.Expr]:
    tokens = pl.col("micro_batch_size") * pl.col("sequence_tokens")
    return [
        pl.col("is_full").cast(pl.Float64).alias("train"),
        pl.col("compute_element_bytes").alias("compute"),
        pl.col("activation_element_bytes").alias("activation"),
        pl.col("stream_element_bytes").alias("stream"),
        pl.col("adapter_element_bytes").alias("adapter_bytes"),
        (tokens / pl.col("context_parallel_size")).alias("rank_tokens"),
        # Sequence parallelism cuts by tokens what tensor parallelism leaves whole.
        pl.when("sequence_parallel")
        .then(1.0 / pl.col("tensor_parallel_size"))
        .otherwise(1.0)
        .alias("residual_share"),
    ]


def _adapter_columns() -> list[pl.Expr]:
    """Adapter sums per layer; row-parallel inputs are cut by tensor parallelism."""
    tp = pl.col("tensor_parallel_size")
    columns = []
    for block in adapters.BLOCKS:
        for side in adapters.SIDES:
            cut = tp if side == "out" else pl.lit(1)
            for what in ("features", "adapters"):
                name = f"{block}_{side}_{what}"
                share = pl.col("layers_of_model") * (cut if what == "features" else 1)
                columns.append((pl.col(name).fill_null(0.0) / share).alias(name))
    expert = pl.col("experts_in_adapters").fill_null(0.0) + pl.col(
        "experts_out_adapters"
    ).fill_null(0.0)
    return [*columns, (expert / pl.col("layers_of_model")).alias("expert_adapters")]


def _experts_shared() -> pl.Expr:
    return (pl.col("expert_adapters") > 1).cast(pl.Float64)


def _own_code() -> pl.Expr:
    """1.0 where a framework's own model code keeps the inputs of frozen linears."""
    return pl.col("own_model_code").cast(pl.Float64) * (1.0 - pl.col("train"))


def _own_inputs() -> pl.Expr:
    """Inputs of the MLP and of the output projection that such code keeps; k-bit linears more."""
    inputs = pl.col("compute") * (pl.col("hidden") + pl.col("output_width"))
    kbit = pl.when("is_kbit").then(pl.col("kbit_saved_hidden_bytes")).otherwise(0.0)
    return _own_code() * inputs + kbit * pl.col("hidden")


def _block_columns() -> list[pl.Expr]:
    recurrent = (
        pl.when("has_attention")
        .then(0.0)
        .otherwise(pl.when(pl.col("mixer") == "none").then(0.0).otherwise(RECURRENT_TENSORS))
        * pl.col("compute")
        * pl.col("hidden")
    )
    return [
        (
            pl.col("residual_share") * norms.saved_norms()
            + norms.norm_inputs_saved()
            + _own_inputs()
        ).alias("saved_norms"),
        (attention.saved_attention() + norms.saved_qk_norms() + recurrent).alias("saved_attention"),
        (pl.col("saved_mlp_dense") + moe.saved_moe()).alias("saved_mlp"),
        (pl.col("residual_share") * mlp.saved_dropout()).alias("saved_dropout"),
        adapters.saved_adapter("attention").alias("saved_attention_adapters"),
        adapters.saved_adapter("mlp").alias("saved_mlp_adapters"),
        _expert_adapter_tokens().alias("saved_expert_adapters"),
        moe.adapted_expert_weights().alias("adapted_expert_bytes"),
        attention.attention_backward().alias("attention_backward"),
        _mlp_backward().alias("mlp_backward"),
    ]


def _expert_adapter_tokens() -> pl.Expr:
    return pl.lit(0.0)


def _mlp_backward() -> pl.Expr:
    """The MLP's working set beyond what the layer saves.

    An adapter on the last linear keeps a cast of its input and adds fp32 copies of its gradient;
    one on the up projection makes the recomputed forward pass the fullest moment.
    """
    width = pl.col("activation") * pl.col("inner")
    stream = pl.col("stream") * pl.col("hidden")
    plain = mlp.mlp_backward() + moe.moe_backward() + stream
    casts = adapters.casts_inputs()
    cast = adapters.cast_bytes() * pl.col("inner")
    rank = pl.col("adapter_bytes") * pl.col("lora_rank")
    backward = pl.max_horizontal(2 * cast - 2 * width + 2 * stream + rank, plain - 2 * width)
    work = pl.when((pl.col("mlp_out_adapters") > 0) & casts).then(backward).otherwise(plain)
    forward = pl.when((pl.col("mlp_in_adapters") > 0) & casts).then(_adapted_up()).otherwise(0.0)
    again = pl.col("gradient_checkpointing") == "full"
    return pl.max_horizontal(work, pl.when(again).then(forward).otherwise(0.0))


def _adapted_up() -> pl.Expr:
    """Recomputing an adapted up projection, beyond what the layer saves in the end.

    Its own output and the adapter's, plain and scaled, twice as wide where gate and up are fused.
    """
    fused = pl.col("fused_gate_up")
    width = pl.col("inner") * pl.when(fused).then(2.0).otherwise(1.0)
    before = pl.when(fused).then(0.0).otherwise(2 * pl.col("activation") * pl.col("inner"))
    live = before + width * (pl.col("activation") + 2 * adapters.cast_bytes())
    down = pl.when(pl.col("mlp_out_adapters") > 0).then(1.0).otherwise(0.0)
    later = down * (
        adapters.cast_bytes() * pl.col("inner") + pl.col("adapter_bytes") * pl.col("lora_rank")
    )
    saved = pl.col("saved_mlp_dense") + later
    return live - saved + 4 * pl.col("stream") * pl.col("hidden")


def _layer_columns() -> list[pl.Expr]:
    """Per-token sums become bytes of the micro-batch for one layer of the kind."""
    tokens = pl.col("rank_tokens")
    mlp_part = pl.col("saved_mlp") + pl.col("saved_mlp_adapters")
    every = (
        pl.col("saved_norms")
        + pl.col("saved_attention")
        + pl.col("saved_attention_adapters")
        + pl.col("saved_dropout")
        + mlp_part
    )
    boundary = pl.col("residual_share") * pl.col("stream") * pl.col("hidden")
    # When attention is differentiated the MLP's tensors and the second norm are gone.
    in_attention = (
        pl.col("attention_backward") - mlp_part - pl.col("saved_norms") / pl.col("norms").clip(1)
    )
    backward = pl.max_horizontal("mlp_backward", in_attention)
    whole = every * tokens + pl.col("adapted_expert_bytes")
    return [
        whole.alias("saved_without_checkpointing"),
        (boundary * tokens).alias("boundary"),
        (backward * tokens).alias("backward"),
        (
            _matrix()
            * pl.when(in_attention > pl.col("mlp_backward")).then(_matrices()).otherwise(1.0)
        ).alias("finished"),
        checkpointing.kept_bytes(whole, boundary).alias("kept"),
    ]


def _matrix() -> pl.Expr:
    """Elements of the MLP's last matrix on the rank, of all experts together."""
    experts = pl.col("num_experts") * pl.col("expert_inner")
    return pl.col("hidden") * (pl.col("inner") + pl.col("shared_inner") + experts)


def _matrices() -> pl.Expr:
    """Matrices of the MLP, all differentiated when attention's turn comes."""
    return pl.when(pl.col("mlp") == "plain").then(2.0).otherwise(3.0)


def _case_sums() -> list[pl.Expr]:
    count = pl.col("layer_count")
    residual = pl.col("rank_tokens") * pl.col("residual_share")
    checkpointed = pl.col("gradient_checkpointing") != "none"
    whole = pl.col("saved_without_checkpointing")
    recomputed = pl.when(checkpointed).then(whole).otherwise(0.0)
    frozen_first = (
        pl.when(~checkpointed & (pl.col("train") == 0))
        .then(norms.saved_norms() / pl.col("norms").clip(1) * pl.col("rank_tokens"))
        .otherwise(0.0)
    )
    return [
        (pl.col("kept") * count).sum().alias("layers_saved_bytes"),
        whole.max().alias("layer_saved_bytes"),
        recomputed.max().alias("layer_recomputed_bytes"),
        (recomputed + pl.col("backward")).max().alias("layer_backward_bytes"),
        frozen_first.max().alias("first_layer_missing_bytes"),
        (norms.final_norm_saved() * residual).max().alias("final_norm_bytes"),
        (norms.final_norm_backward() * residual).max().alias("final_norm_backward_bytes"),
        (pl.col("boundary")).max().alias("stream_bytes"),
        pl.col("rank_tokens").first(),
        pl.col("finished").max().alias("finished_elements"),
        pl.col("num_attention_heads").max().alias("largest_heads"),
        (~pl.col("rotary") | ~pl.col("mixer").is_in(["full", "sliding", "chunked"]))
        .any()
        .alias("is_rare"),
        (pl.col("query_width") * pl.col("tensor_parallel_size") * count)
        .sum()
        .alias("attention_width_sum"),
        (
            pl.col("head_dim").max()
            * 2
            * pl.col("compute").first()
            * pl.col("sequence_tokens").first()
        ).alias("rotary_bytes"),
    ]


def rotary_and_mask() -> pl.Expr:
    """Cosines and sines of one sequence, and eager attention's mask, per token of the batch."""
    tables = 2 * pl.col("head_dim") * pl.col("compute") / pl.col("micro_batch_size")
    rotary = pl.when("rotary").then(tables).otherwise(0.0)
    return rotary + attention.mask_bytes()
