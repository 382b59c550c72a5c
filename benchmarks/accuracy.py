"""Estimates against measured runs, by engine and component.

Writes docs/accuracy.md, and for the report planner/catalog/data/accuracy.yaml.

Run: `python benchmarks/accuracy.py [FOLDER] [-o docs/accuracy.md]`. FOLDER holds the reference:
`measured/inference.csv`, `training.csv`, `throughput.csv`, `configs/`, and `training_oracle/`. It
lies beside the project (`../shared/reference`) where it is not given.

A section is a function from that folder to tables. To add one: write the function, list it in
SECTIONS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from planner.verify.run import GROUPS, Verified, verify_file  # noqa: E402
from planner.verify.score import confusion, summary  # noqa: E402

REFERENCE = ROOT.parent / "shared" / "reference"
COMPONENT_NAMES = {
    "weights_gib": "weights",
    "activation_peak_gib": "activation peak",
    "non_torch_gib": "non-torch memory",
    "cuda_graph_gib": "CUDA graphs",
    "kv_cache_gib": "KV cache or pool",
    "kv_cache_tokens": "KV tokens",
    "total_gib": "total",
    "tpot_ms": "time per output token",
    "ttft_ms": "time to first token",
}


@dataclass(frozen=True)
class Table:
    """One table of the page: a title, what it shows, column names, rows of text."""

    title: str
    text: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


Section = Callable[[Path], list[Table]]


def inference(folder: Path) -> list[Table]:
    """Memory of serving engines: by component, by version, and against the targets."""
    verified = _verified(folder, "inference")
    if verified is None:
        return []
    versions = summary(
        verified.rows.filter(pl.col("engine") == "vllm"), ("engine_version", "component")
    ).filter(pl.col("rows") >= 3)
    return [
        _summary_table("Inference memory", INFERENCE_TEXT, verified),
        _table(
            "vLLM by version",
            "Versions with at least three runs of a component.",
            versions,
            ("engine_version", "component"),
        ),
        _targets(verified.rows),
        _verdicts("Verdicts on measured inference totals", verified),
    ]


def held_out(folder: Path) -> list[Table]:
    """How fitted constants carry over: each model, card or version left out once."""
    path = folder / "measured" / "inference.csv"
    if not path.is_file():
        return []
    from benchmarks.accuracy_holdout import COLUMNS, FIGURES, LABELS, TEXT, holdout

    rows = [
        (
            line["engine"],
            COMPONENT_NAMES[line["component"]],
            *(str(line[name]) for name in LABELS),
            *(_percent(line[name]) for name in FIGURES),
        )
        for line in holdout(path, path.parent / "configs").to_dicts()
    ]
    return [Table("Constants on runs they were not fitted on", TEXT, COLUMNS, rows)]


def training(folder: Path) -> list[Table]:
    """Memory of fine-tuning: measured runs by framework and metric."""
    verified = _verified(folder, "training")
    if verified is None:
        return []
    return [
        _summary_table("Fine-tuning memory", TRAINING_TEXT, verified),
        _verdicts("Verdicts on measured fine-tuning totals", verified),
    ]


def oracle(folder: Path) -> list[Table]:
    """Training steps of real model classes with byte-exact accounting."""
    path = folder / "training_oracle" / "oracle.csv"
    if not path.is_file():
        return []
    from benchmarks.accuracy_training import MOE, oracle_estimates
    from benchmarks.accuracy_training import summary as oracle_summary

    frame = oracle_estimates(path)
    moe = pl.any_horizontal(pl.col("model").str.starts_with(name) for name in MOE)
    rows = []
    for name, part in (("dense", frame.filter(~moe)), ("experts", frame.filter(moe))):
        found = oracle_summary(part)
        rows.append((name, *(_number(value) for value in found.values())))
    columns = ("models", *oracle_summary(frame))
    text = "Byte-exact training steps of real model classes without a GPU."
    return [Table("Training steps of real classes", text, columns, rows)]


def throughput(folder: Path) -> list[Table]:
    """Latency of serving runs."""
    verified = _verified(folder, "throughput")
    if verified is None:
        return []
    return [_summary_table("Serving speed", THROUGHPUT_TEXT, verified)]


IN_REPORTS = {
    "inference": "inference memory",
    "training": "fine-tuning memory",
    "throughput": "serving speed",
}
FEWEST_RUNS = 3
DATA_HEAD = """\
# Written by `make accuracy`; do not edit. Estimates against published measurements, as reports show
# them: shares of the measured value; groups of at least three runs.
"""


def report_rows(folder: Path, today: str) -> list[str]:
    """Lines of accuracy.yaml: one group of measured runs each."""
    lines = []
    for kind, name in IN_REPORTS.items():
        verified = _verified(folder, kind)
        if verified is None:
            continue
        groups = GROUPS[verified.kind]
        for row in summary(verified.rows, groups).filter(pl.col("rows") >= FEWEST_RUNS).to_dicts():
            component = str(row["component"])
            shares = (
                f"{key}: {'null' if row[column] is None else round(row[column], 4)}"
                for key, column in (
                    ("median_error_ratio", "median_error"),
                    ("p95_error_ratio", "p95_error"),
                    ("inside_share", "inside"),
                )
            )
            lines.append(
                f"- {{kind: {name}, engine: {row[groups[0]]}, "
                f"component: {COMPONENT_NAMES.get(component, component)}, rows: {row['rows']}, "
                f'{", ".join(shares)}, date: "{today}"}}'
            )
    return lines


SECTIONS: tuple[Section, ...] = (inference, held_out, training, oracle, throughput)

INFERENCE_TEXT = (
    "Terms out of engine logs and totals of published runs, per GPU. Each run is estimated from"
    " its inputs alone. llama.cpp rows mostly keep weights on the CPU, so their weights are not"
    " scored."
)
TRAINING_TEXT = (
    "Allocated, reserved, process and device memory of published fine-tuning runs. Equal inputs"
    " still differ by up to 10 %."
)
THROUGHPUT_TEXT = "Time per output token and to the first token of published serving runs."

TARGETS: tuple[tuple[str, str, str, Callable[[pl.DataFrame], float], float], ...] = (
    ("weights, median error", "vllm", "weights_gib", lambda e: _quantile(e, 0.5), 0.005),
    ("weights, p95 error", "vllm", "weights_gib", lambda e: _quantile(e, 0.95), 0.025),
    ("KV pool, median error", "vllm", "kv_cache_gib", lambda e: _quantile(e, 0.5), 0.015),
    ("KV pool, p95 error", "vllm", "kv_cache_gib", lambda e: _quantile(e, 0.95), 0.05),
    ("activation peak, median", "vllm", "activation_peak_gib", lambda e: _quantile(e, 0.5), 0.15),
    ("totals, median error", "transformers", "total_gib", lambda e: _quantile(e, 0.5), 0.05),
)


def _quantile(rows: pl.DataFrame, share: float) -> float:
    error = (rows["expected"] / rows["measured"] - 1).abs()
    return float(error.quantile(share, "linear") or 0.0)


def _targets(rows: pl.DataFrame) -> Table:
    """The project's own targets beside what is reached."""
    lines = []
    for name, engine, component, measure, target in TARGETS:
        part = rows.filter(
            pl.col("scored"),
            pl.col("engine") == engine,
            pl.col("component") == component,
            pl.col("expected").is_not_null(),
            pl.col("measured") != 0,
        )
        named = part.filter(pl.col("engine_version").is_in(NAMED_VERSIONS))
        lines.append(
            (engine, name, _percent(target), _percent(measure(part)), _percent(measure(named)))
        )
    text = (
        "Beside all scored rows, those whose version was printed and that are no development"
        " build or fork: the others carry settings nobody wrote down."
    )
    columns = ("engine", "figure", "target", "all rows", "version printed")
    return Table("Targets", text, columns, lines)


NAMED_VERSIONS = ("0.19.0", "0.5.4", "0.8.2", "0.14.1", "0.24.0", "0.27.1", "4.46.0", "4.51.3")


def _verified(folder: Path, kind: str) -> Verified | None:
    path = folder / "measured" / f"{kind}.csv"
    if not path.is_file():
        return None
    return verify_file(path, models=path.parent / "configs")


def _summary_table(title: str, text: str, verified: Verified) -> Table:
    groups = GROUPS[verified.kind]
    return _table(title, text, summary(verified.rows, groups), groups)


def _table(title: str, text: str, lines: pl.DataFrame, groups: Sequence[str]) -> Table:
    columns = (
        *(name.replace("_", " ") for name in groups),
        "rows",
        "no estimate",
        "median error",
        "p95",
        "worst",
        "bias",
        "in range",
        "range / card",
    )
    shares = ("median_error", "p95_error", "worst_error", "bias", "inside", "width")
    rows = [
        (
            *(COMPONENT_NAMES.get(str(line[name]), str(line[name] or "-")) for name in groups),
            str(line["rows"]),
            str(line["unestimated"]),
            *(_percent(line[share]) for share in shares),
        )
        for line in lines.to_dicts()
    ]
    return Table(title, text, columns, rows)


def _verdicts(title: str, verified: Verified) -> Table:
    counts = confusion(verified.rows)
    columns = tuple(name.replace("_", " ") for name in counts)
    text = "Of runs with a known card: what the verdict would have been."
    return Table(title, text, columns, [tuple(str(count) for count in counts.values())])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def page(tables: Sequence[Table]) -> str:
    """The page in Markdown."""
    parts = [INTRODUCTION]
    for table in tables:
        parts += [f"## {table.title}", table.text, _markdown(table)]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Accuracy

Generated by `make accuracy`; do not edit. It compares estimates with runs that other people
measured and published. *Error* is estimate over measurement, minus one; *bias* its median with
sign; *in range* the share of measurements between low and high; *range / card* the median width of
the range as a share of the card's memory. Rows marked as doubtful by their collectors are not
scored. `planner verify` prints the same tables for your own runs: see [verify.md](verify.md)."""


def _markdown(table: Table) -> str:
    lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print every section and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=REFERENCE)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "accuracy.md")
    data = ROOT / "planner" / "catalog" / "data" / "accuracy.yaml"
    parser.add_argument("--data", type=Path, default=data)
    given = parser.parse_args()
    if not given.folder.is_dir():
        parser.exit(3, f"no reference folder at {given.folder}: nothing to compare with\n")
    tables = [table for section in SECTIONS for table in section(given.folder)]
    text = page(tables)
    given.output.write_text(text, "utf-8")
    rows = report_rows(given.folder, datetime.now(UTC).date().isoformat())
    given.data.write_text(DATA_HEAD + "\n".join(rows) + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
