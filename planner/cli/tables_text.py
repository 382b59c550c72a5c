"""Tables and records as text for terminals, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click


def show_table(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows as aligned columns, numbers to the right, or as a JSON list."""
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], indent=2, default=str))
        return
    if not rows:
        click.echo("nothing found")
        return
    names = list(rows[0])
    cells = [[_shown(row[name]) for name in names] for row in rows]
    widths = [max(len(n), *(len(c[i]) for c in cells)) for i, n in enumerate(names)]
    numeric = [all(_is_number(row[name]) for row in rows) for name in names]
    for line in [names, *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def show_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one entry, a field a line, or as a JSON object."""
    if as_json:
        click.echo(json.dumps(dict(record), indent=2, default=str))
        return
    width = max(len(name) for name in record)
    for name, value in record.items():
        if value not in (None, "", []):
            click.echo(f"{name.ljust(width)}  {_shown(value)}")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
