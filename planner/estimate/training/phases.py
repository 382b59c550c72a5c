"""The phases of a training step, each a sum of named terms; the peak is the largest of them.

Every phase gives bytes for gradients, optimizer, activations, logits and gathered weights at the
moment it is fullest; weights, adapter and optimizer states are there throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from planner.estimate.training import gradients, logits

ITEMS: Final = ("gathered", "gradients", "step", "activations", "logits")
TOTALS: Final = "phase_{}_bytes"


@dataclass(frozen=True, slots=True)
class Phase:
    """One moment of the step: a name and the bytes of each varying item at it."""

    name: str
    gathered: pl.Expr
    gradients: pl.Expr
    step: pl.Expr
    activations: pl.Expr
    logits: pl.Expr

    def total(self) -> pl.Expr:
        """Sum of the varying items."""
        return pl.sum_horizontal(getattr(self, item) for item in ITEMS)


def _zero() -> pl.Expr:
    return pl.lit(0.0)


def phases() -> tuple[Phase, ...]:
    """All phases of one step, in order of time."""
    root, layer = pl.col("gathered_root_bytes"), pl.col("gathered_layer_bytes")
    early, kept = pl.col("early_gradients_bytes"), pl.col("gradients_kept")
    return (
        Phase(
            "loss forward", root, early + liger_head(), _zero(), at_head(), logits.forward_bytes()
        ),
        Phase(
            "loss backward",
            root,
            early + liger_head(),
            _zero(),
            after_head(),
            logits.backward_bytes(),
        ),
        Phase(
            "head backward", root, with_head(), _zero(), after_head(), logits.head_backward_bytes()
        ),
        Phase(
            "last layer backward",
            root + layer,
            with_head() + pl.col("unsharded_gradients_bytes"),
            _zero(),
            last_layer(),
            held_logits(),
        ),
        Phase(
            "first layer backward",
            root + layer,
            first_layer_gradients(),
            _zero(),
            first_layer(),
            held_logits(),
        ),
        Phase(
            "embedding backward",
            root,
            embedding_gradients(),
            _zero(),
            pl.col("rotary_bytes") + pl.col("position_bytes"),
            held_logits(),
        ),
        Phase(
            "optimizer step",
            _zero(),
            kept,
            pl.col("step_bytes"),
            pl.col("rotary_bytes") * 0.0,
            _zero(),
        ),
    )


def liger_head() -> pl.Expr:
    """Liger computes the head's gradient during the forward pass."""
    return logits.liger_weight_gradient_elements() * pl.col("gradient_element_bytes")


def in_flight() -> pl.Expr:
    """Micro-batches whose activations live at once on the first stage under 1F1B."""
    return pl.min_horizontal("pipeline_parallel_size", "gradient_accumulation_steps").clip(1)


def stage_share() -> pl.Expr:
    """Share of the layers on the fullest pipeline stage."""
    layers, stages = pl.col("num_hidden_layers"), pl.col("pipeline_parallel_size")
    return (layers / stages).ceil() / layers


def kept_share() -> pl.Expr:
    """Share of the layers' activations that stays on the GPU of the fullest stage.

    Activations that are offloaded leave two layers' worth behind: one in use, one in transfer.
    """
    away = pl.col("offload") == "activations-cpu"
    left = pl.min_horizontal(2.0 / pl.col("num_hidden_layers"), pl.lit(1.0))
    return stage_share() * pl.when(away).then(left).otherwise(1.0)


def saved() -> pl.Expr:
    """Activations kept by the layers of the last stage for one micro-batch."""
    kept = pl.col("layers_saved_bytes") * kept_share() - pl.col("first_layer_missing_bytes")
    return kept + pl.col("rotary_bytes") + pl.col("position_bytes")


def at_head() -> pl.Expr:
    """Layers, final norm and the head's input."""
    frozen = pl.when("is_full").then(0.0).otherwise(pl.col("head_input_bytes"))
    return (
        saved() + pl.col("final_norm_bytes") + frozen + pl.col("cast_cache_bytes") + last_stream()
    )


def last_stream() -> pl.Expr:
    """The last layer's output: kept by a checkpoint-free norm only as its fp32 copy."""
    return pl.col("head_input_kept_bytes")


def after_head() -> pl.Expr:
    """After the forward pass the head's input goes unless the head trains."""
    return saved() + pl.col("final_norm_bytes") + last_stream() + kept_casts(with_head=True)


def kept_casts(*, with_head: bool) -> pl.Expr:
    """Autocast's 16-bit weights that wait for their backward pass: without checkpointing all."""
    head = pl.col("cast_head_bytes")
    recomputed = pl.col("gradient_checkpointing") == "full"
    if with_head:
        return pl.when(recomputed).then(head).otherwise(pl.col("cast_cache_bytes"))
    return pl.when(recomputed).then(0.0).otherwise(pl.col("cast_cache_bytes") - head)


def last_layer() -> pl.Expr:
    """The final norm's backward pass, or that of the last layer: whichever needs more."""
    first_stage = pl.col("layers_saved_bytes") * kept_share() * in_flight()
    base = first_stage - pl.col("first_layer_missing_bytes") + pl.col("rotary_bytes")
    return (
        base
        + pl.col("position_bytes")
        + pl.max_horizontal("final_norm_backward_bytes", "layer_backward_bytes")
    )


def first_layer() -> pl.Expr:
    """Backward pass of the first layer: only its own activations are left (of each micro-batch)."""
    first_stage = pl.col("layers_saved_bytes") * kept_share()
    others = first_stage * (in_flight() - 1)
    whole = (
        pl.when(pl.col("gradient_checkpointing") == "none")
        .then("layer_saved_bytes")
        .otherwise("stream_bytes")
    )
    own = whole + pl.col("layer_backward_bytes") - pl.col("first_layer_missing_bytes")
    return others + own + frozen_units() + pl.col("rotary_bytes") + pl.col("position_bytes")


def frozen_units() -> pl.Expr:
    """Inputs and their gradients that FSDP units of frozen weights keep through the backward pass.

    Units that train adapters over a frozen base reshard by a hook on their inputs' gradients, and
    every layer's input and its gradient were alive until the pass ended. Source: fms runs with
    adapters on 2 and 4 GPUs (torch 2.4); full fine-tuning does not show it.
    """
    layers = pl.col("num_hidden_layers") * stage_share()
    kept = (2 * layers - 2) * pl.col("stream_bytes")
    frozen = pl.col("keeps_frozen_inputs") & pl.col("is_adapted")
    fsdp = pl.col("sharding").is_in(["fsdp", "hsdp"]) & (pl.col("weight_shards") > 1)
    return pl.when(frozen & fsdp).then(kept).otherwise(0.0)


def with_head() -> pl.Expr:
    """Gradients once the head is differentiated: its own, or all of earlier micro-batches."""
    head = pl.col("head_gradient_bytes")
    accumulating = pl.col("gradient_accumulation_steps") > 1
    return pl.when(accumulating).then(pl.col("early_gradients_bytes") + head).otherwise(head)


def first_layer_gradients() -> pl.Expr:
    """All gradients but the embedding's and the rest of the first layer's."""
    missing = pl.when("tied_embeddings").then(0.0).otherwise(pl.col("embedding_on_rank"))
    layer = pl.col("first_layer_parameters") / pl.col("tensor_parallel_size")
    layer = (layer - pl.col("finished_elements")).clip(lower_bound=0.0)
    element = pl.col("gradient_element_bytes") / pl.col("gradient_shards")
    keeps = pl.col("is_full") & ~pl.col("optimizer_in_backward")
    less = pl.when(keeps).then((missing + layer) * element).otherwise(0.0)
    accumulating = pl.col("gradient_accumulation_steps") > 1
    kept = pl.col("gradients_kept") - pl.when(accumulating).then(0.0).otherwise(less)
    return kept.clip(lower_bound=0.0) + pl.col("unsharded_gradients_bytes")


def embedding_gradients() -> pl.Expr:
    """All gradients; a tied embedding's two contributions are added into a third tensor."""
    table = pl.col("embedding_on_rank") * pl.col("gradient_element_bytes")
    stream = pl.col("stream_bytes")
    tied = pl.max_horizontal(2 * table, table + stream)
    extra = pl.when("tied_embeddings").then(tied).otherwise(stream)
    shared = pl.when(pl.col("gradient_shards") > 1).then(table).otherwise(0.0)
    return pl.col("gradients_kept") + pl.when("is_full").then(extra + shared).otherwise(0.0)


def held_logits() -> pl.Expr:
    """Logits that outlive the loss because the trainer keeps the model's output."""
    held = pl.col("holds_logits") & logits.keeps_all_logits()
    return (
        pl.when(held).then(logits.logits_element_bytes() * pl.col("logit_elements")).otherwise(0.0)
    )


def gradient_columns() -> list[pl.Expr]:
    """Helper columns of the phases: gradients by moment."""
    return [
        gradients.unsharded_gradients().alias("unsharded_gradients_bytes"),
        gradients.alive_from_start().alias("early_gradients_bytes"),
        gradients.head_gradient().alias("head_gradient_bytes"),
    ]


def with_peak(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Adds `peak_phase`, and each varying item at that phase as `peak_<item>_bytes`."""
    every = phases()
    names = [TOTALS.format(phase.name.replace(" ", "_")) for phase in every]
    totals = [phase.total().alias(name) for phase, name in zip(every, names, strict=True)]
    index = pl.concat_list(names).list.arg_max()
    frame = cells.with_columns(totals).with_columns(peak_index=index)
    chosen = [pl.lit(every[0].name)] + [pl.lit(phase.name) for phase in every[1:]]
    return frame.with_columns(
        _at_peak(chosen).alias("peak_phase"),
        *(
            _at_peak([getattr(phase, item) for phase in every]).alias(f"peak_{item}_bytes")
            for item in ITEMS
        ),
    )


def _at_peak(values: list[pl.Expr]) -> pl.Expr:
    picked = [
        pl.when(pl.col("peak_index") == index).then(value) for index, value in enumerate(values)
    ]
    return pl.coalesce(picked)
