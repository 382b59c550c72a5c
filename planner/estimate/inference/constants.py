"""Constants of the engine profile as expressions."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.ledger import Bound

INDEX_ENTRY_BYTES: Final = 132 / 128
"""Bytes an element of a sparse-attention indexer's key: FP8, and a 32-bit scale of 128 elements
(vllm/v1/attention/backends/mla/indexer.py, sglang nsa_indexer.py)."""


def constant(name: str, bound: Bound = "expected") -> pl.Expr:
    """A constant of the engine profile at a bound of its range."""
    return pl.col(name if bound == "expected" else f"{name}_{bound}")
