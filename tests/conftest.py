"""Options and fixtures of the whole test suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--refresh-golden` rewrites the golden files from what the program prints now."""
    parser.addoption(
        "--refresh-golden",
        action="store_true",
        default=False,
        help="rewrite the golden files; look at the difference before you commit it",
    )
