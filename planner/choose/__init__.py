"""Choosing, with reasons: frames in, frames out.

`choice` picks the cheapest allowed cell of each case and says why the others lost; `front` marks
the cells on the front of cost against latency; `binding` names what stands in the way of a cheaper
one; `sensitivity` and `breakeven` say what would change the choice.
"""

from planner.choose.binding import binding_constraints, relaxations
from planner.choose.breakeven import break_even
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
from planner.choose.sensitivity import close_runners_up, growth_flips, price_flips

__all__ = [
    "CONFIGURATION",
    "RUNNERS_UP",
    "Limits",
    "allowed_verdicts",
    "best_per_configuration",
    "binding_constraints",
    "bought_cases",
    "break_even",
    "close_runners_up",
    "growth_flips",
    "price_flips",
    "rank_cost_usd",
    "ranked",
    "relaxations",
    "with_choice",
]
