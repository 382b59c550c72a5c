"""Optimizer states and what the step allocates, per trained parameter on the rank.

Columns from the optimizers catalog: `full_states` (tensors as large as the parameter),
`state_bytes` (per element; null: the trained parameter's dtype), `state_block` (elements that
share one fp32 scale; 0: none), `factored` (a row and a column statistic instead of one state),
`low_rank`, `paged`, `step_copies` (temporaries as large as the parameters), `step_per_tensor` (one
tensor after the other), `master_bytes`.
"""

from __future__ import annotations

import polars as pl

FP32 = 4.0


def state_element_bytes() -> pl.Expr:
    """Bytes a trained parameter, all states together.

    Block-wise 8-bit states carry one fp32 scale per block and state. torch keeps the states of
    AdamW in the parameter's dtype. Source: torch.optim, bitsandbytes.optim.
    """
    named = pl.col("optimizer_state_dtype").replace_strict(
        {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0},
        default=None,
        return_dtype=pl.Float64,
    )
    each = pl.coalesce(
        pl.col("state_bytes").cast(pl.Float64), named, pl.col("trained_element_bytes")
    )
    scale = pl.when(pl.col("state_block") > 0).then(FP32 / pl.col("state_block")).otherwise(0.0)
    return pl.col("full_states") * (each + scale)


def states_bytes() -> pl.Expr:
    """States of the parameters that this rank updates, with its fp32 master copy where it has one.

    Factored statistics and step counters are counted as one state over `hidden` as width.
    """
    trained = pl.col("updated_parameters")
    factored = pl.when("factored").then(trained * FP32 * 2.0 / pl.col("hidden_size")).otherwise(0.0)
    low_rank = (
        pl.when(pl.col("low_rank") > 0)
        .then((pl.col("low_rank") / pl.col("hidden_size")).clip(upper_bound=1.0))
        .otherwise(1.0)
    )
    master = trained * pl.max_horizontal("master_element_bytes", "master_bytes")
    return trained * state_element_bytes() * low_rank + factored + master


def step_bytes() -> pl.Expr:
    """Temporaries of the step: one copy of the updated parameters for `foreach`, none for `fused`.

    Source: training oracle (exactly one copy in the parameter's dtype).
    """
    foreach = pl.col("optimizer_implementation") == "foreach"
    copies = (
        pl.when(pl.col("step_copies").is_not_null())
        .then("step_copies")
        .otherwise(foreach.cast(pl.Float64))
    )
    each = (
        pl.when(pl.col("optimizer_in_backward") | pl.col("step_per_tensor"))
        .then(pl.min_horizontal("largest_tensor_parameters", "updated_parameters"))
        .otherwise(pl.col("updated_parameters"))
    )
    return copies * each * pl.col("trained_element_bytes")
