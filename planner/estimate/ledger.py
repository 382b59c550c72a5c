"""The ledger: which items add up to the peak of one GPU, and how they are summed.

Every item has three columns, `<item>_low_bytes`, `<item>_bytes` and `<item>_high_bytes`, at the
binding phase, per GPU of the most loaded rank. An item that does not apply is null and counts 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

Bound = Literal["low", "expected", "high"]
BOUNDS: Final[tuple[Bound, ...]] = ("low", "expected", "high")

COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "weights": ("weights",),
    "adapter": ("adapter",),
    "gradients": ("gradients",),
    "optimizer": ("optimizer",),
    "activations": ("activations",),
    "logits": ("logits",),
    "kv_cache": ("kv_cache",),
    "recurrent_state": ("recurrent_state",),
    "overhead": (
        "cuda_context",
        "cuda_graphs",
        "communication",
        "workspace",
        "staging",
        "allocator_reserve",
    ),
}
"""Component of a cell (a column `<component>_gib` of cells.csv) -> its items."""

ITEMS: Final[tuple[str, ...]] = tuple(item for items in COMPONENTS.values() for item in items)


@dataclass(frozen=True, slots=True)
class Term:
    """How one item is computed, for people who ask.

    Attributes:
        name: the item.
        component: what it is booked under in cells.csv.
        formula: text with `{column}` operands; a part in [brackets] is left out where one of its
            operands is null or zero.
        operands: the columns named in the formula, all present in the estimator's frame.
        source: where the formula or its constants come from.
    """

    name: str
    component: str
    formula: str
    operands: tuple[str, ...]
    source: str


def item_column(item: str, bound: Bound = "expected") -> str:
    """Column of an item: `weights_bytes`, `weights_low_bytes`, `weights_high_bytes`."""
    return f"{item}_bytes" if bound == "expected" else f"{item}_{bound}_bytes"


def item_columns(items: Iterable[str] = ITEMS) -> list[str]:
    """The three columns of each item, in ledger order."""
    return [item_column(item, bound) for item in items for bound in BOUNDS]


def sum_items(items: Iterable[str] = ITEMS, bound: Bound = "expected") -> pl.Expr:
    """Sum of items in bytes; null items count 0."""
    return pl.sum_horizontal(pl.col(item_column(item, bound)).fill_null(0.0) for item in items)


def component_bytes(component: str, bound: Bound = "expected") -> pl.Expr:
    """Bytes of one component: the sum of its items, null where none of them applies."""
    items = COMPONENTS[component]
    known = pl.any_horizontal(pl.col(item_column(item, bound)).is_not_null() for item in items)
    return pl.when(known).then(sum_items(items, bound)).otherwise(None)


def missing_items(present: Iterable[str]) -> list[pl.Expr]:
    """Null columns for the items that an estimator does not have."""
    have = set(present)
    absent = [name for name in item_columns() if name not in have]
    return [pl.lit(None, dtype=pl.Float64).alias(name) for name in absent]


def three(item: str, expected: pl.Expr, low: pl.Expr, high: pl.Expr) -> list[pl.Expr]:
    """The three columns of one item from its expressions, in bytes."""
    values: dict[Bound, pl.Expr] = {"low": low, "expected": expected, "high": high}
    return [values[bound].cast(pl.Float64).alias(item_column(item, bound)) for bound in BOUNDS]


def spread(item: str, expected: pl.Expr, relative: float | pl.Expr = 0.0) -> list[pl.Expr]:
    """The three columns of one item with a symmetric relative spread."""
    return three(item, expected, expected * (1 - relative), expected * (1 + relative))
