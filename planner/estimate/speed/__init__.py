"""How fast a replica serves: prefill, decode, communication and the scheduler, as expressions.

`with_speed` adds the figures to inference cells; `scaling_efficiency` is the guide's simple model.
"""

from planner.estimate.speed.model import with_speed
from planner.estimate.speed.rule_of_thumb import rule_of_thumb_speed, scaling_efficiency

__all__ = ["rule_of_thumb_speed", "scaling_efficiency", "with_speed"]
