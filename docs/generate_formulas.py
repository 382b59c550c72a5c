"""Write docs/formulas.md from the docstrings of the estimators."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ESTIMATE = PROJECT / "planner" / "estimate"
PAGE = PROJECT / "docs" / "formulas.md"
INTRO = """\
# Formulas

Every public formula of the estimators, from its own docstring. Generated: change the docstring,
then run `make docs`.
"""


def formulas(path: Path) -> Iterator[tuple[str, str]]:
    """(name, docstring) of the public functions of a module that make or add columns."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        returns = ast.unparse(node.returns) if node.returns else ""
        text = ast.get_docstring(node)
        if text and ("Expr" in returns or "LazyFrame" in returns):
            yield node.name, text


def page() -> str:
    """The whole page, modules in order of their path."""
    parts = [INTRO]
    for path in sorted(ESTIMATE.rglob("*.py")):
        found = list(formulas(path))
        if not found:
            continue
        name = path.relative_to(PROJECT).as_posix()
        about = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").strip()
        parts.append(f"\n## {name}\n\n{about}\n")
        for function, text in found:
            quoted = "\n".join(f"> {line}".rstrip() for line in text.splitlines())
            parts.append(f"\n**`{function}`**\n\n{quoted}\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(PROJECT)}\n")
