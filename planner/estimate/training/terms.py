"""How each item of the training ledger is computed, in words, for `explain`."""

from __future__ import annotations

from typing import Final

from planner.estimate.ledger import Term

TERMS: Final[tuple[Term, ...]] = ()
