"""Choosing, with reasons: frames in, frames out.

`choice` picks the cheapest allowed cell of each case and says why the others lost; `front` marks
the cells on the front of cost against latency; `binding` names what stands in the way of a cheaper
one; `sensitivity` and `breakeven` say what would change the choice.
"""

from planner.choose.choice import (
    CONFIGURATION,
    RUNNERS_UP,
    Limits,
    allowed_verdicts,
    best_per_configuration,
    bought_cases,
    rank_cost_usd,
    ranked,
    with_choice,
)

__all__ = [
    "CONFIGURATION",
    "RUNNERS_UP",
    "Limits",
    "allowed_verdicts",
    "best_per_configuration",
    "bought_cases",
    "rank_cost_usd",
    "ranked",
    "with_choice",
]
