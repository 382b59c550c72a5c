"""The weights of one rank as an engine holds them, part by part, for the sum and for its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from planner.estimate.inference import experts, host, quantised, working
from planner.estimate.inference.constants import constant
from planner.estimate.inference.draft import draft_weights_bytes
from planner.estimate.ledger import Bound
from planner.units import BYTES_PER_GIB


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the weights: its column, what it is, its bytes at a bound, added or taken off."""

    name: str
    words: str
    size: Callable[[Bound], pl.Expr]
    sign: str = "+"

    @property
    def column(self) -> str:
        return f"{self.name}_part_of_weights_bytes"


def _held(bound: Bound) -> pl.Expr:
    return pl.col("rank_weights_bytes") * constant("weights_share", bound)


def _towers(bound: Bound) -> pl.Expr:
    return constant("tower_weights_extra_share", bound) * working.tower_weights_bytes()


def _heads(bound: Bound) -> pl.Expr:
    return (
        quantised.untied_head_bytes()
        + quantised.untied_fp8_head_bytes()
        + working.silently_tied_head_bytes()
    )


def _absorbed(bound: Bound) -> pl.Expr:
    return working.absorbed_mla_bytes() + working.absorbed_projection_bytes(bound)


PARTS: Final[tuple[Part, ...]] = (
    Part("held", "of the rank's tensors in {weight_format}", _held),
    Part("tower", "of towers in 16 bits", _towers),
    Part(
        "skipped_towers",
        "of towers that no request needs",
        lambda _: working.skipped_towers_bytes(),
        "-",
    ),
    Part(
        "narrow_experts",
        "of the experts' reordered scales and biases",
        experts.narrow_experts_extra_bytes,
    ),
    Part(
        "embedding_on_cpu",
        "of the input embedding, kept on the CPU",
        lambda _: working.embedding_on_cpu_bytes(),
        "-",
    ),
    Part(
        "host",
        "on the host with all but {gpu_layers} layers",
        lambda _: host.host_weights_bytes(),
        "-",
    ),
    Part(
        "quantised_head",
        "that quantising the head saves",
        lambda _: quantised.quantised_head_bytes(),
        "-",
    ),
    Part("untied_head", "of a head untied from the embedding", _heads),
    Part("draft", "of the draft model or heads", draft_weights_bytes),
    Part(
        "slack",
        "of allocator rounding",
        lambda _: pl.col("allocation_slack_bytes") * (1 - pl.col("carves_weights")),
    ),
    Part(
        "rotary",
        "of rotary tables",
        lambda _: working.rope_cache_bytes() + working.layer_rope_bytes(),
    ),
    Part("absorbed", "of absorbed latent projections", _absorbed),
    Part(
        "offloaded",
        "offloaded to the CPU",
        lambda _: pl.col("cpu_offload_gib").fill_null(0.0) * BYTES_PER_GIB,
        "-",
    ),
)
"""Every part of the weights, the tensors first. Parts of nothing are left out of the words."""


def weights_bytes(bound: Bound) -> pl.Expr:
    """Weights of the rank as the engine holds them, without what is offloaded to the CPU."""
    parts = [part.size(bound) * (1 if part.sign == "+" else -1) for part in PARTS]
    return pl.max_horizontal(pl.sum_horizontal(parts, ignore_nulls=False), 0.0)


def part_columns() -> list[pl.Expr]:
    """The expected bytes of each part: `<part>_part_of_weights_bytes`."""
    return [part.size("expected").cast(pl.Float64).alias(part.column) for part in PARTS]


def weights_formula() -> tuple[str, tuple[str, ...]]:
    """Words of the sum with its operands; parts in brackets are left out where they are nothing."""
    first, *others = PARTS
    words = [f"{{{first.column}}} {first.words}"]
    words += [f"[ {part.sign} {{{part.column}}} {part.words}]" for part in others]
    operands = [part.column for part in PARTS]
    return "".join(words), (*operands, "weight_format", "gpu_layers")
