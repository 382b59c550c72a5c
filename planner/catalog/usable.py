"""Usable memory: what torch reports as a card's total, observed or derived by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.units import BYTES_PER_GIB, BYTES_PER_MIB


def usable_columns(gpu: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`usable_low_bytes`, `usable_bytes`, `usable_high_bytes` and `usable_basis` of one GPU row.

    Basis: `observed` where the row carries figures that torch or an engine printed; `observed-smi`
    where they are derived from an observed nvidia-smi total; `derived` from the marketing memory.
    """
    if "usable_gib" in gpu:
        spread = tuple(gpu["usable_gib"][end] for end in ("low", "expected", "high"))
        basis = "observed"
    else:
        spread = derive_usable_gib(gpu, rules)
        basis = "observed-smi" if "smi_total_mib" in gpu else "derived"
    low, expected, high = (round(size * BYTES_PER_GIB) for size in spread)
    return {
        "usable_low_bytes": low,
        "usable_bytes": expected,
        "usable_high_bytes": high,
        "usable_basis": basis,
    }


def derive_usable_gib(
    gpu: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]
) -> tuple[float, float, float]:
    """Low, expected and high usable GiB of a card nobody has reported a torch total of.

    visible = the nvidia-smi total, else marketing GB x total_factor x (15/16 with inline ECC);
    usable = visible - (reserve_gib + reserve_share x visible), spread by the misses on the
    observed cards. Source: the rules' own `source` fields.
    """
    unified = str(gpu.get("memory_type", "")).startswith("unified")
    rule = next(
        rule
        for rule in rules
        if rule.get("vendor") in (None, gpu["vendor"]) and rule.get("unified") in (None, unified)
    )
    if "smi_total_mib" in gpu:
        visible = [gpu["smi_total_mib"] * BYTES_PER_MIB / BYTES_PER_GIB] * 3
    else:
        nominal = gpu["memory_gb"] * (rule["inline_ecc_factor"] if gpu.get("inline_ecc") else 1)
        visible = [nominal * rule["total_factor"][end] for end in ("low", "expected", "high")]
    kept = [size - rule["reserve_gib"] - rule["reserve_share"] * size for size in visible]
    low = kept[0] - rule["spread_low_gib"]
    high = min(kept[2] + rule["spread_high_gib"], visible[2])
    return max(low, 0.0), kept[1], high
