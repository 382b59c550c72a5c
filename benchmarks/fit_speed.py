"""Fits the constants of the speed model to measured serving runs, through its own formulas.

`make fit-speed` rewrites planner/catalog/data/speed.yaml from `measured/throughput.csv` of the
reference folder and prints the errors.

The fit minimises relative errors, the figure that is judged, with a loss that grows linearly: runs
with settings nobody wrote down pull little. Each constant starts at its prior, a round figure from
first principles with a spread, so that what the runs say little about stays where it was. Runs of
one configuration share whatever is not known about it: RUNS_PER_OBSERVATION of them count as one.

The honest error is that of models the fit has never seen: every model shape is left out in turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import least_squares

from planner.catalog.load import load_catalog
from planner.estimate.speed.inputs import prepared
from planner.estimate.speed.model import staged
from planner.resolve.speed import SPEED_FILE, load_constants, speed_frame
from planner.resolve.tables import Tables
from planner.verify.read import facts_of_models, read_measured, tables_of
from planner.verify.throughput import admitted, throughput_cells

REFERENCE: Final = Path(__file__).resolve().parents[2] / "shared" / "reference" / "measured"
RUNS_PER_OBSERVATION: Final = 12.0
ERROR_SCALES: Final = (0.12, 0.25)
"""Usual relative errors of the time per output token and to the first token."""
FIRST_TOKEN_WEIGHT: Final = 0.5
LINEAR_FROM: Final = 0.5
"""Errors above this many scales count linearly."""
LEAST_RUNS_LEFT_OUT: Final = 20
RANGE_TAILS: Final = (0.06, 0.94)
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unknown:
    """One constant to fit: its name, the family or engine it holds for, its prior in logarithms."""

    name: str
    scope: str | None
    prior: float
    spread: float


@dataclass(frozen=True, slots=True)
class Runs:
    """Measured runs with the working columns of the speed model.

    `log_ms` has time per output token and time to first token; `shape` tells models apart by
    width and depth, so that checkpoints of one architecture are left out together.
    """

    work: pl.DataFrame
    log_ms: Array
    family: NDArray[np.str_]
    engine: NDArray[np.str_]
    shape: NDArray[np.int64]


def read_runs(folder: Path, constants: Mapping[str, Any]) -> Runs:
    """The runs of `throughput.csv`."""
    rows = read_measured(folder / "throughput.csv").rows
    catalog = load_catalog()
    facts, _ = facts_of_models(rows["model"].unique(), folder / "configs", catalog)
    engines = rows.select("engine", "engine_version").unique().iter_rows()
    tables = tables_of(facts.values(), engines, catalog, speed=True)
    return runs_of(admitted(throughput_cells(rows, tables), tables), tables, constants)


def runs_of(cells: pl.LazyFrame, tables: Tables, constants: Mapping[str, Any]) -> Runs:
    """Cells with `tpot_ms` and `ttft_ms`, estimated up to the point where constants come in."""
    speed = speed_frame(constants).lazy()
    work = prepared(cells, tables, speed).collect(engine="in-memory")
    family = {a: f["id"] for f in constants["families"] for a in f.get("architectures", [])}
    engine = {n: e["id"] for e in constants["engines"] for n in [e["id"], *e.get("aliases", [])]}
    shape = pl.struct("s_hidden_size", "s_num_hidden_layers").rank("dense")
    return Runs(
        work=work.select(pl.col("^s_.*$"), "gpu"),
        log_ms=np.log(work.select("tpot_ms", "ttft_ms").to_numpy()),
        family=np.array([family.get(name, "") for name in work["s_architecture"]]),
        engine=np.array([engine.get(name, "") for name in work["engine"]]),
        shape=work.select(shape.cast(pl.Int64)).to_series().to_numpy(),
    )


def unknowns(constants: Mapping[str, Any]) -> list[Unknown]:
    """What is fitted: every constant with a prior, once for each family or engine it depends on."""
    found = []
    for meaning in constants["meanings"]:
        if "prior" not in meaning:
            continue
        fixed, prior = meaning.get("fixed", {}), meaning["prior"]
        for scope in _scopes(constants, meaning):
            if scope not in fixed:
                log = float(np.log(prior["value"]))
                found.append(Unknown(meaning["name"], scope, log, prior["spread"]))
    return found


def predicted(runs: Runs, wanted: Sequence[Unknown], logs: Array, index: Array) -> Array:
    """Logarithms of both times, one set of constants a row of `logs`: sets x runs x 2."""
    part, sets = runs.work[index], len(logs)
    values: dict[str, Array] = {}
    for column, one in enumerate(wanted):
        name = f"s_{one.name}"
        if name not in values:
            values[name] = np.tile(part[name].to_numpy(), (sets, 1))
        where = _holds(runs, one)[index]
        values[name][:, where] = np.exp(logs[:, column])[:, None]
    frame = pl.concat([part] * sets).with_columns(
        pl.Series(name, value.ravel()) for name, value in values.items()
    )
    times = frame.lazy().pipe(staged).select(pl.col("s_token", "s_first").log() + np.log(1e3))
    return times.collect(engine="in-memory").to_numpy().reshape(sets, part.height, 2)


def _holds(runs: Runs, one: Unknown) -> NDArray[np.bool_]:
    if one.scope is None:
        return np.ones(len(runs.family), dtype=bool)
    return (runs.family == one.scope) | (runs.engine == one.scope)


def fitted(runs: Runs, wanted: Sequence[Unknown], index: Array) -> tuple[Array, Array]:
    """Logarithms of the constants that fit the runs best, and their standard errors."""
    prior = np.array([one.prior for one in wanted])
    spread = np.array([one.spread for one in wanted])
    weight = np.sqrt(np.array([1.0, FIRST_TOKEN_WEIGHT]) / RUNS_PER_OBSERVATION)

    def residuals(logs: Array) -> Array:
        error = np.expm1(np.clip(predicted(runs, wanted, logs, index) - runs.log_ms[index], -5, 2))
        scaled = error / np.array(ERROR_SCALES) / LINEAR_FROM
        bent = np.sign(scaled) * LINEAR_FROM * np.sqrt(2 * (np.sqrt(1 + scaled**2) - 1))
        return (bent * weight).reshape(len(logs), -1)

    def against(logs: Array) -> Array:
        return np.concatenate([residuals(logs[None])[0], (logs - prior) / spread])

    def slope(logs: Array) -> Array:
        step = 1e-3
        at = residuals(np.vstack([logs, logs + step * np.eye(len(logs))]))
        return np.vstack([(at[1:] - at[0]).T / step, np.diag(1 / spread)])

    best = least_squares(against, prior, slope, max_nfev=40, ftol=1e-5, xtol=1e-5)
    covariance = np.linalg.inv(best.jac.T @ best.jac)
    return best.x, np.sqrt(np.diag(covariance))


def left_out(runs: Runs, wanted: Sequence[Unknown]) -> Array:
    """Both times of every run as constants say that never saw its model; NaN for rare models."""
    found = np.full(runs.log_ms.shape, np.nan)
    for shape in np.unique(runs.shape):
        inside = runs.shape == shape
        if inside.sum() >= LEAST_RUNS_LEFT_OUT:
            logs, _ = fitted(runs, wanted, np.flatnonzero(~inside))
            index = np.flatnonzero(inside)
            found[index] = predicted(runs, wanted, logs[None], index)[0]
    return found


def points(runs: Runs, wanted: Sequence[Unknown], logs: Array) -> list[int]:
    """Runs whose times move by more than one part in a hundred as much as each constant does."""
    every = np.arange(len(runs.log_ms))
    at = predicted(runs, wanted, np.vstack([logs, logs + 0.01 * np.eye(len(logs))]), every)
    moved = np.abs(at[1:] - at[0]).max(axis=2) > 1e-4
    return [int(count) for count in moved.sum(axis=1)]


def new_constants(
    constants: Mapping[str, Any], runs: Runs, wanted: Sequence[Unknown]
) -> dict[str, Any]:
    """The content of speed.yaml after the fit, with its errors and ranges."""
    every = np.arange(len(runs.log_ms))
    logs, errors = fitted(runs, wanted, every)
    entries = {
        (one.name, one.scope): {
            "value": _short(np.exp(log)),
            "low": _short(np.exp(log - 1.645 * error)),
            "high": _short(np.exp(log + 1.645 * error)),
            "points": count,
        }
        for one, log, error, count in zip(
            wanted, logs, errors, points(runs, wanted, logs), strict=True
        )
    }
    inside = np.abs(np.expm1(predicted(runs, wanted, logs[None], every)[0] - runs.log_ms))
    unseen = left_out(runs, wanted) - runs.log_ms
    unseen = unseen[np.isfinite(unseen[:, 0])]
    outside = np.abs(np.expm1(unseen)).mean(axis=0)
    ranges = np.quantile(np.exp(-unseen), RANGE_TAILS, axis=0)
    return {
        **constants,
        "fit": {
            "points": len(every),
            "source": constants["fit"]["source"],
            "time_per_output_token_error": _short(inside.mean(axis=0)[0], 3),
            "time_to_first_token_error": _short(inside.mean(axis=0)[1], 3),
            "time_per_output_token_error_unseen_model": _short(outside[0], 3),
            "time_to_first_token_error_unseen_model": _short(outside[1], 3),
        },
        "ranges": {"calibrated": _range(ranges, 1.0), "first_principles": _range(ranges, 1.5)},
        "constants": [
            _entry(meaning, scope, entries)
            for meaning in constants["meanings"]
            for scope in _scopes(constants, meaning)
        ],
    }


def _range(factors: Array, wider: float) -> dict[str, dict[str, float]]:
    """Low and high factors of both times; `wider` stretches their logarithms."""
    ends = np.exp(np.log(factors) * wider)
    names = ("time_per_output_token", "time_to_first_token")
    return {
        name: {"low": _short(ends[0, i], 2), "high": _short(ends[1, i], 3)}
        for i, name in enumerate(names)
    }


def _scopes(constants: Mapping[str, Any], meaning: Mapping[str, Any]) -> list[str | None]:
    by = meaning.get("by")
    if by is None:
        return [None]
    listed = constants["families" if by == "family" else "engines"]
    return [entry["id"] for entry in listed if "like" not in entry]


def _entry(
    meaning: Mapping[str, Any],
    scope: str | None,
    entries: Mapping[tuple[str, str | None], Mapping[str, Any]],
) -> dict[str, Any]:
    name = meaning["name"]
    where = {} if scope is None else {meaning["by"]: scope}
    fixed = meaning.get("fixed", {})
    stated = {"value": fixed.get(scope, meaning.get("value"))}
    return {"name": name, **where, **entries.get((name, scope), stated)}


def _short(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def written(head: str, data: Mapping[str, Any]) -> str:
    """speed.yaml as text: one entry a line."""
    lines = [head.rstrip()]
    for key, value in data.items():
        lines.append(f"{key}:")
        if isinstance(value, list):
            lines += [f"- {_flow(entry)}" for entry in value]
        else:
            lines += [f"  {name}: {_flow(entry)}" for name, entry in value.items()]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(entry) for entry in value) + "]"
    if isinstance(value, str) and (" " in value or ":" in value):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)


def main() -> None:
    """Fit, print the errors, and write the file unless told not to."""
    parser = argparse.ArgumentParser(description="Fit the constants of the speed model.")
    parser.add_argument("folder", nargs="?", type=Path, default=REFERENCE)
    parser.add_argument("--output", type=Path, default=SPEED_FILE)
    options = parser.parse_args()
    constants = load_constants(SPEED_FILE)
    runs = read_runs(options.folder, constants)
    data = new_constants(constants, runs, unknowns(constants))
    comments = [line for line in SPEED_FILE.read_text("utf-8").splitlines() if line[:1] == "#"]
    options.output.write_text(written("\n".join(comments), data), "utf-8")
    for name, value in data["fit"].items():
        print(f"{name:45} {value}")


if __name__ == "__main__":
    main()
