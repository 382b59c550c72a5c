"""The long table for notebooks: typed, compressed, without words from elsewhere."""

from __future__ import annotations

import io

import polars as pl


def cells_parquet(cells: pl.DataFrame) -> bytes:
    """Every cell with its types; columns without any value are texts."""
    nothing = [name for name, dtype in cells.schema.items() if dtype == pl.Null]
    buffer = io.BytesIO()
    typed = cells.with_columns(pl.col(name).cast(pl.String) for name in nothing)
    typed.write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()
