"""Speed of inference cells: the stages of the model in order, and what leaves it."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.speed import decode, prefill, scheduler
from planner.estimate.speed.hardware import half_flops
from planner.estimate.speed.inputs import prepared
from planner.resolve.tables import Tables

SPEED_COLUMNS: Final = (
    "prefill_tokens_per_second",
    "time_to_first_token_low_ms",
    "time_to_first_token_ms",
    "time_to_first_token_high_ms",
    "time_per_output_token_low_ms",
    "time_per_output_token_ms",
    "time_per_output_token_high_ms",
    "tokens_per_second_low",
    "tokens_per_second",
    "tokens_per_second_high",
    "end_to_end_ms",
)
NEEDED_FACTS: Final = {
    "s_linear_bytes": "the model or its weight format is not known",
    "s_memory_bandwidth_bytes_per_second": "the GPU's memory bandwidth is not known",
    "s_half_flops": "the GPU's 16-bit tensor throughput is not known",
    "s_kernel_us": "there are no speed constants",
}
ON_HOST: Final = "part of the weights stays in host memory, whose speed is not modelled"
CALIBRATED: Final = "calibrated"
FIRST_PRINCIPLES: Final = "first-principles"


def with_speed(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Adds what one replica reaches at its concurrency.

    Inputs (null or absent: a default): `model`, `weight_format`, `gpu`, parallel sizes
    (`data_parallel_size` is the attention data parallelism inside a replica), `nodes`, `engine`,
    `kv_cache_dtype`, `concurrent_sequences` per replica (1), `input_tokens` and `output_tokens`
    (means; else `*_tokens_mean`, else three and one quarter of `context_tokens`),
    `prefix_cache_share` (0), `speculative_tokens` (0) and `speculative_acceptance`,
    `max_num_seqs` and `max_concurrent_sequences` (what memory admits), `enforce_eager`,
    `poll_interval_steps` (steps between looks at the request queue; 1).

    Adds SPEED_COLUMNS: tokens per second are output tokens of the replica; times are means in
    milliseconds with the calibrated range; and `speed_basis` (`calibrated` where GPU family and
    engine were measured, else `first-principles`) and `speed_note` (why there are no figures).
    Replaces columns of these names. Raises nothing: missing facts leave nulls and a note.
    """
    added = [*SPEED_COLUMNS, "speed_basis", "speed_note"]
    present = cells.collect_schema().names()
    cells = cells.drop(name for name in added if name in present)
    if tables.speed is None:
        nulls = [pl.lit(None, dtype=pl.Float64).alias(name) for name in SPEED_COLUMNS]
        note = pl.lit("there are no speed constants").alias("speed_note")
        return cells.with_columns(*nulls, pl.lit(None, dtype=pl.String).alias("speed_basis"), note)
    names = cells.collect_schema().names()
    work = prepared(cells, tables, tables.speed)
    return work.pipe(staged).with_columns(_results()).select(*names, *added)


def staged(work: pl.LazyFrame) -> pl.LazyFrame:
    """Each stage reads the columns of those before it."""
    return (
        work.with_columns(
            s_kernels=decode.kernel_seconds(),
            s_half_flops=half_flops(),
            s_measured=pl.col("gpu").is_in(pl.col("s_measured_gpus")),
        )
        .with_columns(_range_factors())
        .with_columns(
            s_step=decode.step_seconds(),
            s_tokens_per_step=decode.tokens_per_step(),
            s_prompt=prefill.prompt_seconds(),
            s_own_prompt=prefill.own_prompt_seconds(),
            s_prefill_pass=prefill.launch_seconds(),
            s_reading=prefill.reading_seconds(),
        )
        .with_columns(s_wait=scheduler.interference_seconds())
        .with_columns(s_token=scheduler.token_seconds())
        .with_columns(s_admission=scheduler.admission_seconds())
        .with_columns(s_first=scheduler.first_token_seconds())
        .with_columns(s_request=scheduler.request_seconds())
    )


def _range_factors() -> list[pl.Expr]:
    """The calibrated range, or the wide one where GPU or engine were not measured."""
    return [
        pl.when("s_measured").then(f"s_{name}").otherwise(f"s_wide_{name}").alias(f"s_{name}")
        for name in ("token_low", "token_high", "first_low", "first_high")
    ]


def _results() -> list[pl.Expr]:
    note = pl.coalesce(
        *(pl.when(pl.col(name).is_null()).then(pl.lit(why)) for name, why in NEEDED_FACTS.items()),
        pl.when("s_on_host").then(pl.lit(ON_HOST)),
    )
    first, token = pl.col("s_first") * 1e3, pl.col("s_token") * 1e3
    rate = (
        pl.col("s_sequences")
        * pl.col("s_output_tokens")
        / (pl.col("s_admission") + (pl.col("s_output_tokens") - 1) * pl.col("s_token"))
    )
    low, high = pl.col("s_token_low"), pl.col("s_token_high")
    columns = {
        "prefill_tokens_per_second": prefill.new_tokens() / pl.col("s_prompt"),
        "time_to_first_token_low_ms": first * pl.col("s_first_low"),
        "time_to_first_token_ms": first,
        "time_to_first_token_high_ms": first * pl.col("s_first_high"),
        "time_per_output_token_low_ms": token * low,
        "time_per_output_token_ms": token,
        "time_per_output_token_high_ms": token * high,
        "tokens_per_second_low": rate / high,
        "tokens_per_second": rate,
        "tokens_per_second_high": rate / low,
        "end_to_end_ms": pl.col("s_request") * 1e3,
    }
    return [
        *(pl.when(note.is_null()).then(value).alias(name) for name, value in columns.items()),
        note.alias("speed_note"),
        pl.when(note.is_null())
        .then(pl.when("s_measured").then(pl.lit(CALIBRATED)).otherwise(pl.lit(FIRST_PRINCIPLES)))
        .alias("speed_basis"),
    ]
