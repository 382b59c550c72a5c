"""Which accelerator runs which weight format, from the rules of format_support.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

Row = Mapping[str, Any]

SUPPORT_SCHEMA: Final[dict[str, Any]] = {
    "gpu": pl.String,
    "weight_format": pl.String,
    "support": pl.String,
    "reason": pl.String,
}


def support_frame(
    gpus: Iterable[Row], formats: Sequence[Row], rules: Sequence[Row]
) -> pl.DataFrame:
    """One row for each accelerator and format: `support` native, emulated or unsupported.

    `reason` says why a format is not native: the rule's source, or what the card lacks.
    """
    by_format = {
        row["id"]: [
            rule
            for rule in rules
            if row["id"] in rule.get("formats", ()) or row["family"] in rule.get("families", ())
        ]
        for row in formats
    }
    rows = [row for gpu in gpus for row in _support_of(gpu, by_format)]
    return pl.DataFrame(rows, schema=SUPPORT_SCHEMA, orient="row")


def _support_of(gpu: Row, by_format: Mapping[str, list[Row]]) -> Iterator[tuple[str, ...]]:
    for weight_format, rules in by_format.items():
        levels = {rule["level"]: rule for rule in reversed(rules) if _holds(rule, gpu)}
        if "native" in levels:
            yield gpu["id"], weight_format, "native", levels["native"]["source"]
        elif "emulated" in levels:
            yield gpu["id"], weight_format, "emulated", levels["emulated"]["source"]
        else:
            yield gpu["id"], weight_format, "unsupported", _lack(gpu, weight_format, rules)


def _holds(rule: Row, gpu: Row) -> bool:
    if gpu["vendor"] not in rule["vendors"]:
        return False
    capability = gpu.get("compute_capability")
    if gpu["vendor"] == "nvidia":
        least = rule.get("min_compute_capability", 0)
        below = rule.get("below_compute_capability", float("inf"))
        return capability is not None and least <= capability < below
    if "gfx_targets" in rule:
        return gpu.get("gfx_target") in rule["gfx_targets"]
    return "architectures" not in rule or gpu.get("architecture") in rule["architectures"]


def _lack(gpu: Row, weight_format: str, rules: Sequence[Row]) -> str:
    if gpu["vendor"] == "nvidia":
        needs = [
            rule["min_compute_capability"]
            for rule in rules
            if "nvidia" in rule["vendors"] and "min_compute_capability" in rule
        ]
        has = gpu.get("compute_capability")
        if needs and has is not None:
            return (
                f"{weight_format} needs compute capability {min(needs)}; {gpu['id']} has {has:.1f}"
            )
        if needs:
            return f"{weight_format} needs compute capability {min(needs)}; it is not known here"
    generation = gpu.get("gfx_target") or gpu.get("architecture") or gpu["vendor"]
    return f"{weight_format} has no kernels for {gpu['id']} ({generation})"
