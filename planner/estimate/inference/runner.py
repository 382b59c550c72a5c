"""vLLM's second model runner: which runs it takes, and what its sampler keeps.

It came model by model from 0.22 on and holds its sampler's tables for good, so two runs of one
version may differ by what was counted when (vllm/config/vllm.py use_v2_model_runner).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference.constants import constant
from planner.estimate.inference.quantised import is_unquantised
from planner.estimate.ledger import Bound

_UNQUANTISED: Final = 1
_EVERY_MODEL: Final = 2
_PLAIN_DECODERS: Final = 3


def uses_second_runner() -> pl.Expr:
    """By `v2_runner`: 1, models in 16 bits; 2, all; 3, all but mixtures of experts and hybrids.

    With a draft model of its own only where `v2_takes_draft_models`. Stored as `is_second_runner`.
    """
    kind = pl.col("v2_runner")
    plain = (pl.col("moe_layers") == 0) & ~pl.col("has_recurrent_state")
    taken = (
        (kind == _EVERY_MODEL)
        | ((kind == _UNQUANTISED) & is_unquantised())
        | ((kind == _PLAIN_DECODERS) & plain)
    )
    drafts = pl.col("draft_model").is_null() | (pl.col("v2_takes_draft_models") > 0)
    return (taken & drafts).alias("is_second_runner")


def bytes_per_logit(bound: Bound = "expected") -> pl.Expr:
    """Bytes of a logit and of what sampling makes of it, by the runner."""
    return _by_runner(constant("v2_bytes_per_logit", bound), constant("bytes_per_logit", bound))


def sampler_state_bytes(bound: Bound = "expected", *, inside: bool) -> pl.Expr:
    """Tables of the second runner's sampler: max_num_seqs x vocabulary x bytes.

    Counts of output tokens and a mask of the prompt's (vllm/v1/worker/gpu/sample/penalties.py).
    `inside` gives those that the engine counts in its memory fraction, else the others.
    """
    size = (
        constant("v2_state_bytes_per_logit", bound)
        * pl.col("step_sequences")
        * pl.col("vocab_size")
        * _by_runner(pl.lit(1.0), pl.lit(0.0))
    )
    counted = pl.col("v2_state_inside")
    return size * (counted if inside else 1 - counted)


def counts_graphs_inside() -> pl.Expr:
    """Whether CUDA graphs are taken off the pool, as 0 or 1."""
    return _by_runner(pl.col("v2_graphs_inside"), pl.col("counts_graphs_inside"))


def profiles_encoder() -> pl.Expr:
    """Whether the profiling run of the cell's runner includes the encoder, as 0 or 1."""
    return _by_runner(pl.col("v2_profiles_encoder"), pl.col("profiles_encoder"))


def keeps_sampler_memory() -> pl.Expr:
    """Whether a sampler runs on the largest batch at start: vLLM's first V1 runner."""
    return _by_runner(pl.lit(0.0), pl.col("keeps_sampler_memory"))


def _by_runner(second: pl.Expr, first: pl.Expr) -> pl.Expr:
    return pl.when("is_second_runner").then(second).otherwise(first)
