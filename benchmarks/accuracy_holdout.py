"""How the fitted constants of the engine profiles carry over to runs they were not fitted on.

A group of measured inference runs (a model, a card, an engine version) is left out, each constant
is fitted anew on the others, and the left-out runs are estimated. Constants are fitted as a common
factor over the profiles of an engine, one after another, each on the runs where it makes up a
fair part of a component. An engine without a second group is not shown.

Run: `python -m benchmarks.accuracy_holdout FILE.csv [CONFIGS]`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from planner.catalog.load import load_catalog
from planner.resolve.engine_constants import bound_columns
from planner.resolve.tables import Tables
from planner.verify.inference import inference_estimates
from planner.verify.inference_cells import with_versions
from planner.verify.read import facts_of_models, read_measured, tables_of

FITTED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "vllm": {
        "weights_gib": ("weights_share", "tower_weights_extra_share"),
        "activation_peak_gib": (
            "bytes_per_logit",
            "mlp_elements_per_token",
            "hidden_elements_per_token",
            "moe_workspace_share",
        ),
        "non_torch_gib": ("non_torch_bytes", "communication_bytes"),
        "cuda_graph_gib": ("graph_base_bytes", "graph_hidden_bytes", "graph_expert_bytes"),
    },
    "transformers": {
        "total_gib": ("weights_share", "mlp_elements_per_token", "activation_base_bytes"),
    },
    "ik_llama.cpp": {
        "activation_peak_gib": (
            "latent_base_bytes",
            "mask_bytes_per_pair",
            "moe_workspace_share",
            "staged_tensors",
        ),
    },
    "torchao": {"total_gib": ("quantising_base_bytes", "activation_base_bytes")},
}
"""Constants with measured points behind them: engine -> component -> in the order of fitting."""

TEXT = (
    "Each model, card or version is left out once, the fitted constants of the engine profiles are"
    " fitted anew on the other runs (as one factor over all versions), and the runs left out are"
    " estimated with them. Beside each figure with all runs in the fit stands the one of the runs"
    " left out. Non-torch memory does not carry over between cards and versions: it is another"
    " quantity before 0.6.5, up to 0.17 and after, and nearly all runs of the last are on one card,"
    " so profiles without runs of their own have wide ranges for it. Logits of the sampler and"
    " hidden states carry over between models, weights and totals of Transformers between all."
)
LABELS: Final = ("left_out", "groups", "rows")
FIGURES: Final = (
    "median",
    "left_out_median",
    "p95",
    "left_out_p95",
    "inside",
    "left_out_inside",
)
COLUMNS: Final = (
    "engine",
    "component",
    "group",
    "groups",
    "rows",
    "median error",
    "left out",
    "p95",
    "left out",
    "in range",
    "left out",
)
GROUPS: Final = {"model": "model", "card": "gpu", "version": "engine_version"}
_STEP: Final = 0.1
_FAIR_PART: Final = 0.2
_FEWEST: Final = 3
_FACTORS: Final = (0.1, 10.0)


@dataclass(frozen=True)
class Parts:
    """Estimates of one component, and how much of each one constant makes up."""

    rows: pl.DataFrame
    constants: tuple[str, ...]

    def fitted(self, train: pl.Series) -> pl.DataFrame:
        """Rows with `fitted`: the estimate with constants fitted on the runs of `train`."""
        frame = self.rows.with_columns(fitted=pl.col("expected"), train=train)
        for name in self.constants:
            part = pl.col(f"part_{name}")
            share = part / pl.col("expected")
            wanted = 1 + (pl.col("measured") - pl.col("fitted")) / part
            samples = frame.filter(pl.col("train") & (share >= _FAIR_PART)).select(wanted)
            if samples.height < _FEWEST:
                continue
            factor = min(max(float(samples.to_series().median()), _FACTORS[0]), _FACTORS[1])  # type: ignore[arg-type]
            frame = frame.with_columns(fitted=pl.col("fitted") + (factor - 1) * part)
        return frame


def holdout(path: Path, configs: Path | None = None) -> pl.DataFrame:
    """Error in sample and of left-out groups, by engine, component and kind of group.

    Columns: engine, component, left_out, groups, rows, and `median`, `p95` (relative errors) and
    `inside` (share within the range), each also as `left_out_<name>`.
    """
    rows = with_versions(read_measured(path).rows).filter(pl.col("score").fill_null("yes") != "no")
    catalog = load_catalog()
    found: list[dict[str, Any]] = []
    for engine, components in FITTED.items():
        runs = rows.filter(pl.col("engine") == engine)
        facts, _ = facts_of_models(runs["model"].drop_nulls().unique(), configs, catalog)
        used = runs.select("engine", "engine_version").unique().iter_rows()
        tables = tables_of(tuple(facts.values()), used, catalog)
        for component, constants in components.items():
            parts = _parts(runs, tables, component, constants)
            found += [_row(engine, component, kind, parts) for kind in GROUPS]
    return pl.DataFrame([row for row in found if row["groups"] > 1])


def _parts(runs: pl.DataFrame, tables: Tables, component: str, constants: tuple[str, ...]) -> Parts:
    def estimate(changed: Tables) -> pl.DataFrame:
        rows = inference_estimates(runs, changed).filter(pl.col("component") == component)
        return rows.filter(pl.col("expected").is_not_null() & (pl.col("measured") != 0))

    base = estimate(tables)
    for name in constants:
        more = tables.engines.with_columns(
            pl.col(column) * (1 + _STEP) for column in bound_columns(name)
        )
        moved = estimate(replace(tables, engines=more)).select("id", moved="expected")
        base = base.join(moved, on="id").with_columns(
            ((pl.col("moved") - pl.col("expected")) / _STEP).alias(f"part_{name}")
        )
        base = base.drop("moved")
    about = runs.select("id", *GROUPS.values()).with_columns(pl.all().fill_null("not told"))
    return Parts(base.join(about, on="id"), constants)


def _row(engine: str, component: str, kind: str, parts: Parts) -> dict[str, Any]:
    column = parts.rows[GROUPS[kind]]
    names = column.unique()
    everything = pl.repeat(True, len(column), eager=True)
    left = [parts.fitted(column != name).filter(pl.col(GROUPS[kind]) == name) for name in names]
    inside, outside = _figures(parts.fitted(everything)), _figures(pl.concat(left))
    return {
        "engine": engine,
        "component": component,
        "left_out": kind,
        "groups": len(names),
        "rows": len(column),
        **inside,
        **{f"left_out_{name}": value for name, value in outside.items()},
    }


def _figures(rows: pl.DataFrame) -> dict[str, float]:
    error = (rows["fitted"] / rows["measured"] - 1).abs()
    moved = rows["fitted"] - rows["expected"]
    within = rows["measured"].is_between(rows["low"] + moved, rows["high"] + moved)
    return {
        "median": float(error.median() or 0.0),  # type: ignore[arg-type]
        "p95": float(error.quantile(0.95, "linear") or 0.0),
        "inside": float(within.mean() or 0.0),  # type: ignore[arg-type]
    }


if __name__ == "__main__":
    with pl.Config(tbl_rows=60, tbl_cols=20, tbl_width_chars=200):
        print(holdout(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
