"""Demand into replicas: how many are needed, how busy they are, whether objectives hold.

A replica is a queue with as many servers as sequences it runs at once; requests arrive at random
and are spread evenly. Waiting follows the Allen-Cunneen approximation of the G/G/n queue with
Sakasegawa's exponent. Times are means at peak load, with every replica at its planned concurrency,
which a real load reaches only now and then: the estimate errs to the safe side.

Users who wait for their answer before they ask again are a closed loop: no more requests are
under way than there are users, so that nobody waits where everybody has a place.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

DEFAULT_TARGET_UTILISATION: Final = 0.8
UNKNOWN_LENGTH_VARIATION: Final = 1.0
"""Squared coefficient of variation of lengths given without a p95: that of geometric lengths."""
_Z95: Final = 1.6448536269514722
_BISECTIONS: Final = 24
_MS: Final = 1e3

DEMAND_INPUTS: Final[dict[str, Any]] = {
    "requests_per_second": pl.Float64,
    "concurrent_users": pl.Float64,
    "seconds_between_requests": pl.Float64,
    "peak_factor": pl.Float64,
    "target_utilisation": pl.Float64,
    "concurrent_sequences": pl.Int64,
    "input_tokens_mean": pl.Float64,
    "input_tokens_p95": pl.Float64,
    "output_tokens_mean": pl.Float64,
    "output_tokens_p95": pl.Float64,
    "objective_time_to_first_token_ms": pl.Float64,
    "objective_time_per_output_token_ms": pl.Float64,
    "objective_end_to_end_ms": pl.Float64,
    "time_to_first_token_ms": pl.Float64,
    "time_per_output_token_ms": pl.Float64,
    "end_to_end_ms": pl.Float64,
    "tokens_per_second": pl.Float64,
}


def with_demand(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Adds replicas and whether the objectives hold.

    Inputs: DEMAND_INPUTS (null or absent: not given; `peak_factor` 1, `target_utilisation` 0.8),
    the latencies and `tokens_per_second` of one replica as `with_speed` leaves them.

    With `concurrent_users` the rate follows from them: `requests_per_second` becomes users over
    the seconds of a request and the pause after it, of the replica at hand.

    Adds `replicas` (at least 1; 1 without demand; null where there is demand and no speed),
    `replica_utilization` (share of its places that are busy at peak), `queue_wait_ms` (mean wait
    for a place at peak), `meets_objectives` (null without objectives or without speed) and
    `objective_reason` (the objectives that fail, with both figures).
    """
    added = (
        "replicas",
        "replica_utilization",
        "queue_wait_ms",
        "meets_objectives",
        "objective_reason",
    )
    present = cells.collect_schema().names()
    names = [name for name in present if name not in added]
    missing = {name: kind for name, kind in DEMAND_INPUTS.items() if name not in present}
    work = (
        cells.select(names)
        .with_columns(
            pl.lit(None, kind).alias(name) if name in missing else pl.col(name).cast(kind)
            for name, kind in DEMAND_INPUTS.items()
        )
        .with_columns(_service())
        .with_columns(requests_per_second=request_rate())
        .with_columns(_load())
        .with_columns(_variation())
    )
    work = _highest_utilisation(work).with_columns(d_replicas=replicas())
    places = pl.col("d_replicas") * pl.col("d_places")
    seated = (places >= pl.col("d_users")).fill_null(False)
    work = work.with_columns(d_busy=pl.col("d_offered") / places).with_columns(
        d_wait=pl.when(seated).then(0.0).otherwise(_wait(pl.col("d_busy")))
    )
    work = work.with_columns(_times())
    return work.with_columns(
        replicas=pl.col("d_replicas"),
        replica_utilization=pl.col("d_busy"),
        queue_wait_ms=pl.col("d_wait") * _MS,
        meets_objectives=_meets(),
        objective_reason=_reason(),
    ).select(*names, *added)


def _service() -> list[pl.Expr]:
    """Places of a replica, and the seconds a request holds one."""
    rate = pl.col("tokens_per_second") / pl.col("output_tokens_mean").fill_null(1.0)
    places = pl.max_horizontal(pl.col("concurrent_sequences").fill_null(1), 1).cast(pl.Float64)
    return [places.alias("d_places"), (places / rate).alias("d_service")]


def request_rate() -> pl.Expr:
    """Mean requests per second: as given, or users over the seconds from one request to the next.

    Source: the interactive response time law, Lazowska et al., "Quantitative System Performance",
    1984 (throughput = users / (response time + think time)); without the wait for a place, which
    would lower it.
    """
    cycle = pl.col("d_service") + pl.col("seconds_between_requests").fill_null(0.0)
    return (
        pl.when(pl.col("concurrent_users").is_not_null())
        .then(pl.col("concurrent_users") / cycle)
        .otherwise("requests_per_second")
    )


def _load() -> list[pl.Expr]:
    """Requests per second and users at the peak, the places they take, and whether any is asked."""
    crowd = pl.col("peak_factor").fill_null(1.0)
    peak = pl.col("requests_per_second") * crowd
    users = pl.col("concurrent_users")
    return [
        peak.alias("d_peak"),
        (users * crowd).alias("d_users"),
        (users.is_not_null() | peak.is_not_null()).alias("d_asked"),
        (peak * pl.col("d_service")).alias("d_offered"),
        pl.col("target_utilisation").fill_null(DEFAULT_TARGET_UTILISATION).alias("d_target"),
    ]


def log_normal_variation(mean: pl.Expr, p95: pl.Expr) -> pl.Expr:
    """Squared coefficient of variation of a log-normal length with this mean and 95th percentile.

    `p95 / mean = exp(z s - s^2 / 2)` solved for s; a p95 over 3.87 means is out of the family's
    reach and takes its limit. Null p95: UNKNOWN_LENGTH_VARIATION.
    """
    ratio = (p95 / mean).clip(lower_bound=1.0).log()
    sigma = _Z95 - (_Z95**2 - 2 * ratio).clip(lower_bound=0.0).sqrt()
    return (sigma.pow(2).exp() - 1).fill_null(UNKNOWN_LENGTH_VARIATION)


def _variation() -> pl.Expr:
    """Squared coefficient of variation of the service time, from that of the lengths."""
    read = pl.col("time_to_first_token_ms") / _MS
    written = pl.col("d_service") - read
    reading = log_normal_variation(pl.col("input_tokens_mean"), pl.col("input_tokens_p95"))
    writing = log_normal_variation(pl.col("output_tokens_mean"), pl.col("output_tokens_p95"))
    spread = (reading * read.pow(2) + writing * written.pow(2)) / pl.col("d_service").pow(2)
    return spread.alias("d_variation")


def _wait(busy: pl.Expr) -> pl.Expr:
    """Mean seconds a request waits for one of n places at utilisation `busy`.

    `(1 + cs^2) / 2 x S / n x busy^(sqrt(2 (n + 1)) - 1) / (1 - busy)`.
    Sources: Allen, "Probability, Statistics and Queueing Theory", 1990 (two-moment correction);
    Sakasegawa, "An approximation formula Lq = a p^b / (1 - p)", 1977 (exponent).
    """
    places = pl.col("d_places")
    exponent = (2 * (places + 1)).sqrt() - 1
    crowd = busy.pow(exponent) / (1 - busy)
    wait = (1 + pl.col("d_variation")) / 2 * pl.col("d_service") / places * crowd
    return pl.when(busy < 1).then(wait).when(busy.is_not_null()).then(float("inf"))


def _highest_utilisation(work: pl.LazyFrame) -> pl.LazyFrame:
    """The target utilisation, or less where the wait would break an objective.

    Bisection, since the wait grows with utilisation: the same few steps for every cell.
    """
    to_first = pl.col("objective_time_to_first_token_ms") - pl.col("time_to_first_token_ms")
    to_end = pl.col("objective_end_to_end_ms") - pl.col("end_to_end_ms")
    room = pl.min_horizontal(to_first, to_end).fill_null(float("inf")) / _MS
    work = work.with_columns(d_room=room, d_low=pl.lit(0.0), d_high=pl.col("d_target"))
    for _ in range(_BISECTIONS):
        middle = (pl.col("d_low") + pl.col("d_high")) / 2
        fits = _wait(middle) <= pl.col("d_room")
        work = work.with_columns(
            d_low=pl.when(fits).then(middle).otherwise("d_low"),
            d_high=pl.when(fits).then("d_high").otherwise(middle),
        )
    at_target = _wait(pl.col("d_target")) <= pl.col("d_room")
    # No wait is short enough where the unloaded latency already fails: more replicas cannot help.
    hopeless = pl.col("d_room") <= 0
    return work.with_columns(
        d_utilisation=pl.when(at_target | hopeless).then("d_target").otherwise("d_low")
    )


def replicas() -> pl.Expr:
    """Whole replicas that keep the utilisation at or under what is allowed; 1 without demand.

    Never more than give every user a place, within a target utilisation that is asked for.
    """
    needed = (pl.col("d_offered") / pl.col("d_places") / pl.col("d_utilisation")).ceil()
    share = pl.col("target_utilisation").fill_null(1.0)
    seats = (pl.col("d_users") / pl.col("d_places") / share).ceil()
    wanted = pl.max_horizontal(pl.min_horizontal(needed, seats), 1.0).cast(pl.Int64, strict=False)
    return (
        pl.when(~pl.col("d_asked"))
        .then(pl.lit(1, dtype=pl.Int64))
        .when(pl.col("d_offered").is_not_null() & pl.col("d_offered").is_finite())
        .then(wanted)
    )


def _times() -> list[pl.Expr]:
    wait = pl.col("d_wait").fill_null(0.0) * _MS
    return [
        (pl.col("time_to_first_token_ms") + wait).alias("d_first_ms"),
        pl.col("time_per_output_token_ms").alias("d_token_ms"),
        (pl.col("end_to_end_ms") + wait).alias("d_end_ms"),
    ]


_OBJECTIVES: Final = {
    "time to first token": ("d_first_ms", "objective_time_to_first_token_ms"),
    "time per output token": ("d_token_ms", "objective_time_per_output_token_ms"),
    "end-to-end time": ("d_end_ms", "objective_end_to_end_ms"),
}


_WAITED: Final = ("d_first_ms", "d_end_ms")


def _meets() -> pl.Expr:
    """True where every given objective holds; null where none is given or speed is not known."""
    checks = [pl.col(have) <= pl.col(want) for have, want in _OBJECTIVES.values()]
    given = [pl.col(want).is_not_null() for _, want in _OBJECTIVES.values()]
    unknown = [pl.col(h).is_null() & pl.col(w).is_not_null() for h, w in _OBJECTIVES.values()]
    return pl.when(pl.any_horizontal(given) & ~pl.any_horizontal(unknown)).then(
        pl.all_horizontal(check.fill_null(True) for check in checks)
    )


def _reason() -> pl.Expr:
    """Every objective that fails, in words; why there is no answer where speed is unknown."""
    wait = pl.col("d_wait").fill_null(0.0) * _MS
    waiting = pl.when((wait >= 0.1) & wait.is_finite()).then(
        pl.format(" ({} ms of it waiting for a place)", wait.round(1))
    )
    failures = [
        pl.when(pl.col(have) > pl.col(want)).then(
            pl.format(
                "{} {} ms{} is over the objective of {} ms",
                pl.lit(name),
                pl.col(have).round(1),
                (waiting if have in _WAITED else pl.lit("")).fill_null(""),
                pl.col(want).round(1),
            )
        )
        for name, (have, want) in _OBJECTIVES.items()
    ]
    asked = pl.any_horizontal(
        pl.col("d_asked"),
        *(pl.col(want).is_not_null() for _, want in _OBJECTIVES.values()),
    )
    unknown = pl.when(asked & pl.col("tokens_per_second").is_null()).then(
        pl.lit("the speed of this configuration is not known")
    )
    every = pl.concat_str(failures, separator=", ", ignore_nulls=True)
    return pl.coalesce(unknown, pl.when(every.str.len_chars() > 0).then(every))
