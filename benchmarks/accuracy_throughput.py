"""Accuracy of the speed model on measured serving runs.

`python -m benchmarks.accuracy_throughput FILE.csv [CONFIGS]` prints the figures; targets are those
the project set itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import polars as pl

from planner.verify.run import verify_file

NAMES: Final = {"tpot_ms": "time per output token", "ttft_ms": "time to first token"}
TARGETS: Final = {"tpot_ms": 0.15, "ttft_ms": 0.35}
RANK_TARGET: Final = 0.95
RANGE_TARGET: Final = 0.85
LEAST_RUNS: Final = 20


def accuracy_rows(path: Path, configs: Path | None = None) -> list[dict[str, Any]]:
    """Figures of a file of serving runs: figure, value, target, runs."""
    rows = verify_file(path, models=configs).rows.filter(pl.col("expected").is_not_null())
    found: list[dict[str, Any]] = []
    for component, name in NAMES.items():
        part = rows.filter(pl.col("component") == component)
        error = (part["expected"] / part["measured"] - 1).abs()
        inside = part["measured"].is_between(part["low"], part["high"]).mean()
        target = TARGETS[component]
        found += [
            _row(f"{name}, mean error", error.mean(), target, part.height),
            _row(f"{name}, median error", error.median(), target, part.height),
            _row(f"{name}, inside the range", inside, RANGE_TARGET, part.height),
        ]
    ranks = _rank_correlations(rows.filter(pl.col("component") == "tpot_ms"))
    found.append(
        _row(
            "rank correlation within a model, median",
            ranks["rank"].median(),
            RANK_TARGET,
            ranks["runs"].sum(),
        )
    )
    found += [
        _row(f"rank correlation, {model}", rank, RANK_TARGET, runs)
        for model, rank, runs in ranks.iter_rows()
    ]
    return found


def _row(figure: str, value: Any, target: float, runs: int) -> dict[str, Any]:
    return {"figure": figure, "value": float(value), "target": target, "runs": runs}


def _rank_correlations(rows: pl.DataFrame) -> pl.DataFrame:
    """Spearman correlation of estimated and measured time, per model with enough runs."""
    return (
        rows.group_by("model")
        .agg(rank=pl.corr("expected", "measured", method="spearman"), runs=pl.len())
        .filter(pl.col("runs") >= LEAST_RUNS)
        .sort("model")
        .select("model", "rank", "runs")
    )


def main() -> None:
    """Print the figures as a table."""
    path = Path(sys.argv[1])
    configs = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    for row in accuracy_rows(path, configs):
        print(
            f"{row['figure']:60} {row['value']:7.3f}  target {row['target']:.2f}  ({row['runs']})"
        )


if __name__ == "__main__":
    main()
