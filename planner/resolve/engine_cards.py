"""Defaults of an engine by the memory of a card, in steps (`card_tiers` of a profile file)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

MOST_TIERS: Final = 6
TIER_FIELDS: Final[tuple[str, ...]] = (
    "below_gib",
    "batched_tokens",
    "reserve_mib",
    "reserve_tp4_mib",
    "reserve_rank_mib",
    "reserve_token_mib",
    "reserve_least_mib",
)
"""Amounts a tier may give. What a card keeps free of weights and pool is the sum of a fixed amount
(another from four tensor-parallel ranks on), one a rank and one a token of a step, or the least."""
TIER_SCHEMA: Final[dict[str, Any]] = {
    f"tier{i}_{field}": pl.Float64 for i in range(MOST_TIERS) for field in TIER_FIELDS
}


def tier_columns(tiers: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """One column a tier and field (TIER_SCHEMA), null beyond the tiers given."""
    row: dict[str, float | None] = dict.fromkeys(TIER_SCHEMA)
    for i, tier in enumerate(tiers):
        filled = {"below_gib": float("inf"), **dict.fromkeys(TIER_FIELDS[1:], 0.0), **tier}
        filled["reserve_tp4_mib"] = tier.get("reserve_tp4_mib", filled["reserve_mib"])
        row |= {f"tier{i}_{field}": float(filled[field]) for field in TIER_FIELDS}
    return row


def of_tier(field: str, card_gib: pl.Expr) -> pl.Expr:
    """A field of the first tier that is above the card; null without tiers."""
    return pl.coalesce(
        pl.when(card_gib < pl.col(f"tier{i}_below_gib")).then(pl.col(f"tier{i}_{field}"))
        for i in range(MOST_TIERS)
    )
