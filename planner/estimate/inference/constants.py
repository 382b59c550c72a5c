"""Constants of the engine profile as expressions."""

from __future__ import annotations

import polars as pl

from planner.estimate.ledger import Bound


def constant(name: str, bound: Bound = "expected") -> pl.Expr:
    """A constant of the engine profile at a bound of its range."""
    return pl.col(name if bound == "expected" else f"{name}_{bound}")
