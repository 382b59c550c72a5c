"""What would make a cell fit: the smallest changes, each estimated again, cheapest first.

A change is one step that an engineer would try: it costs a little speed (checkpointing, a fused
loss, smaller micro-batches), some quality risk (8-bit optimizer, smaller rank, a quantised base),
or money (more GPUs, the next card). `effort` orders them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from planner.estimate.training.estimate import estimate_training
from planner.estimate.training.settings import with_inputs
from planner.resolve.tables import Tables

ORIGIN: Final = "advised_row"
SHARDS: Final = ("zero3", "fsdp", "hsdp")


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what it is called, what it costs, where it applies, and the new inputs."""

    name: str
    effort: int
    applies: pl.Expr
    inputs: Callable[[], dict[str, pl.Expr]]


def _fused() -> dict[str, pl.Expr]:
    return {"loss_kernel": pl.lit("liger")}


def _checkpointed() -> dict[str, pl.Expr]:
    return {"gradient_checkpointing": pl.lit("full")}


def _single() -> dict[str, pl.Expr]:
    batch = pl.col("micro_batch_size").fill_null(1)
    steps = pl.col("gradient_accumulation_steps").fill_null(1)
    return {
        "micro_batch_size": pl.lit(1, dtype=pl.Int64),
        "gradient_accumulation_steps": batch * steps,
    }


def _eight_bit() -> dict[str, pl.Expr]:
    return {"optimizer": pl.lit("adamw-8bit"), "optimizer_state_dtype": pl.lit(None, pl.String)}


def _half_rank() -> dict[str, pl.Expr]:
    return {
        "lora_rank": pl.max_horizontal(pl.col("lora_rank") // 2, 1),
        "adapter_parameters": pl.col("adapter_parameters") // 2,
    }


def _quantised() -> dict[str, pl.Expr]:
    return {"method": pl.lit("qlora"), "weight_format": pl.lit("nf4-dq")}


def _sharded() -> dict[str, pl.Expr]:
    return {"sharding": pl.lit("fsdp")}


def _all_of_it() -> dict[str, pl.Expr]:
    return {**_fused(), **_checkpointed(), **_single()}


def _with_eight_bit() -> dict[str, pl.Expr]:
    return {**_all_of_it(), **_eight_bit()}


def changes() -> tuple[Change, ...]:
    """Every change that is tried, cheapest first."""
    full, adapted = pl.col("method") == "full", pl.col("method").is_in(["lora", "dora"])
    several = pl.col("data_parallel_size").fill_null(1) > 1
    open_loss = ~pl.col("loss_kernel").is_in(["liger", "chunked"]).fill_null(False)
    kept = (pl.col("gradient_checkpointing") != "full").fill_null(True)
    batches = (pl.col("micro_batch_size") > 1).fill_null(False)
    wide = ~pl.col("optimizer").str.contains("8bit|4bit|paged").fill_null(False)
    unsharded = ~pl.col("sharding").is_in(SHARDS).fill_null(False)
    return (
        Change("fuse the loss (Liger)", 1, open_loss, _fused),
        Change("checkpoint activations", 2, kept, _checkpointed),
        Change("micro-batches of one sequence, accumulated", 3, batches, _single),
        Change("shard model states (FSDP)", 4, several & unsharded, _sharded),
        Change("fused loss, checkpointing, micro-batches of one", 5, kept | batches, _all_of_it),
        Change("8-bit optimizer", 6, full & wide, _eight_bit),
        Change("half the LoRA rank", 7, adapted & (pl.col("lora_rank") > 1), _half_rank),
        Change("k-bit base (QLoRA)", 8, adapted, _quantised),
        Change("all of these with an 8-bit optimizer", 9, full & wide, _with_eight_bit),
    )


def advise(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Changes that make each of the cells fit, cheapest first.

    `cells` are inputs of `estimate_training` whose peak exceeds the budget; the result keeps the
    column `case_id` and `gpu` and has one row a change that fits: `change`, `effort` (1 is the
    cheapest), `total_bytes`, `total_high_bytes`, `budget_bytes`, `saved_bytes` (against the cell)
    and `certain` (the range's high end fits as well). Cells that nothing helps have one row whose
    change is null and whose `total_bytes` is the least that was reached.
    """
    numbered = with_inputs(cells).with_row_index(ORIGIN)
    before = estimate_training(numbered, tables).select(ORIGIN, before_bytes="total_bytes")
    tried = [
        numbered.filter(change.applies).with_columns(
            change=pl.lit(change.name), effort=pl.lit(change.effort), **change.inputs()
        )
        for change in changes()
    ]
    larger = _larger_cards(numbered, tables)
    after = estimate_training(pl.concat([*tried, larger], how="diagonal_relaxed"), tables)
    fits = pl.col("total_bytes") <= pl.col("budget_bytes")
    allowed = pl.col("unsupported_reason").is_null() & pl.col("impossible_reason").is_null()
    helped = (
        after.filter(allowed)
        .join(before, on=ORIGIN, how="left")
        .with_columns(
            fits=fits,
            certain=pl.col("total_high_bytes") <= pl.col("budget_bytes"),
            saved_bytes=pl.col("before_bytes") - pl.col("total_bytes"),
        )
    )
    return _ordered(helped)


def _larger_cards(numbered: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """The same cell on the next card of the catalog with more usable memory."""
    cards = tables.gpus.select(
        next_gpu="gpu",
        next_low="usable_low_bytes",
        next_usable="usable_bytes",
        next_high="usable_high_bytes",
    ).sort("next_usable", "next_gpu")
    following = (
        numbered.select(ORIGIN, "usable_bytes")
        .drop_nulls()
        .join(cards, how="cross")
        .filter(pl.col("next_usable") > pl.col("usable_bytes") * 1.05)
        .sort(ORIGIN, "next_usable", "next_gpu")
        .group_by(ORIGIN, maintain_order=True)
        .first()
    )
    return numbered.join(following.drop("usable_bytes"), on=ORIGIN).with_columns(
        gpu=pl.col("next_gpu"),
        usable_low_bytes=pl.col("next_low").cast(pl.Float64),
        usable_bytes=pl.col("next_usable").cast(pl.Float64),
        usable_high_bytes=pl.col("next_high").cast(pl.Float64),
        change=pl.format("the next larger card ({})", pl.col("next_gpu")),
        effort=pl.lit(10),
    )


def _ordered(helped: pl.LazyFrame) -> pl.LazyFrame:
    columns = (
        ORIGIN, "case_id", "gpu", "change", "effort", "total_bytes", "total_high_bytes",
        "budget_bytes", "saved_bytes", "certain",
    )  # fmt: skip
    good = helped.filter(pl.col("fits")).select(columns)
    rest = (
        helped.select(*columns, "fits")
        .sort("total_bytes")
        .group_by(ORIGIN)
        .agg(pl.col("fits").any(), pl.exclude("fits").first())
        .filter(~pl.col("fits"))
        .with_columns(change=pl.lit(None, pl.String), effort=pl.lit(None, pl.Int32))
        .select(columns)
    )
    return pl.concat([good, rest], how="vertical_relaxed").sort(ORIGIN, "effort", nulls_last=True)
