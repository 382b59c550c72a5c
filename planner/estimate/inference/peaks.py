"""Peaks of a forward step, worked out in stages.

Every stage stores what the next one reads: an expression that is built into several others is
planned anew in each of them, which costs seconds before the first cell is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from planner.estimate.inference import encoder, experts, host, quantised, working
from planner.estimate.inference.constants import constant
from planner.estimate.ledger import BOUNDS, Bound

STAGED: Final = (
    "resident",
    "expert_workspace",
    "kept",
    "layer_peak",
    "logits_peak",
)
"""Columns `<name>_<bound>` that with_peaks stores on the way and nothing else reads."""


def with_peaks(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Adds for each bound, in bytes: `step_activations_...`, `step_logits_...`, the working memory
    of a step booked apart, and `inner_stage_activations_...` of a pipeline stage without logits;
    `forward_peak_...` and `pictures_peak_...`, the peaks in a layer and of the encoder; and the
    columns of STAGED.
    """
    return (
        cells.with_columns(*_of_each_bound(_first))
        .with_columns(*_of_each_bound(_parts))
        .with_columns(*_of_each_bound(_peaks))
        .with_columns(*_of_each_bound(_booked))
    )


def staged_columns() -> list[str]:
    """Names of the columns that only the stages read."""
    return [f"{name}_{bound}" for name in STAGED for bound in BOUNDS]


def resident(bound: Bound) -> pl.Expr:
    """Buffers alive whatever the step does, as with_peaks stored them."""
    return pl.col(f"resident_{bound}")


def _of_each_bound(columns: Callable[[Bound], dict[str, pl.Expr]]) -> list[pl.Expr]:
    return [
        size.alias(f"{name}_{bound}") for bound in BOUNDS for name, size in columns(bound).items()
    ]


def _first(bound: Bound) -> dict[str, pl.Expr]:
    return {
        "resident": working.resident_bytes(bound),
        "expert_workspace": experts.moe_workspace_bytes(bound),
    }


def _parts(bound: Bound) -> dict[str, pl.Expr]:
    """What is kept through a step, and what a layer adds at most."""
    return {
        "kept": resident(bound) + _held_workspace(bound),
        "layer_peak": _layer_peak(bound),
        "pictures_peak": constant("activation_base_bytes", bound)
        + encoder.encoder_peak_bytes(bound),
    }


def _held_workspace(bound: Bound) -> pl.Expr:
    """One workspace that experts and sparse attention share, where an engine keeps it."""
    moe = pl.col(f"expert_workspace_{bound}") * pl.col("holds_moe_workspace")
    return pl.max_horizontal(moe, working.sparse_workspace_bytes())


def _layer_peak(bound: Bound) -> pl.Expr:
    """The largest part of a layer: attention (an expanded latent, eager scores), MLP, experts.

    At least what a warm-up takes, where an engine is measured with one, and what loading held.
    """
    workspace = pl.col(f"expert_workspace_{bound}") * (1 - pl.col("holds_moe_workspace"))
    grouped = experts.grouped_expert_bytes(bound)
    routed = experts.expert_layer_bytes(bound) + workspace + grouped
    attention = (
        working.latent_scratch_bytes(bound)
        + working.eager_score_bytes(bound)
        + working.expanded_chunk_bytes()
    )
    mlp = pl.max_horizontal(working.dense_layer_bytes(bound), routed) + host.staged_bytes(bound)
    floor = constant("activation_floor_bytes", bound)
    loading = pl.max_horizontal(
        quantised.joined_projections_bytes(bound), quantised.int8_loading_bytes(bound)
    )
    return pl.max_horizontal(mlp, attention, floor, loading) + host.mask_bytes(bound)


def _peaks(bound: Bound) -> dict[str, pl.Expr]:
    """Working memory at the end of a layer, and of the logits."""
    kept, output = pl.col(f"kept_{bound}"), working.step_output_bytes()
    return {
        "forward_peak": kept + pl.col(f"layer_peak_{bound}"),
        "logits_peak": kept + working.logit_peak_bytes(bound) + output,
    }


def _booked(bound: Bound) -> dict[str, pl.Expr]:
    """Activations and logits of a step: the largest of three peaks, booked apart.

    The forward step, the logits, or the encoder before both, whose pictures are alive in all. A
    pipeline stage without logits receives and sends hidden states.
    """
    forward, logits, pictures = (
        f"{name}_peak_expected" for name in ("forward", "logits", "pictures")
    )
    logits_bind = pl.col(logits) > pl.max_horizontal(forward, pictures)
    peak = pl.max_horizontal(
        *(f"{name}_peak_{bound}" for name in ("forward", "logits", "pictures"))
    )
    output = working.step_output_bytes()
    beside = pl.col(f"kept_{bound}") + output
    inner = pl.col(f"forward_peak_{bound}") + pl.col("stage_hidden_copies") * output
    return {
        "step_activations": pl.when(logits_bind).then(beside).otherwise(peak),
        "step_logits": pl.when(logits_bind).then(peak - beside).otherwise(0.0),
        "inner_stage_activations": inner,
    }
