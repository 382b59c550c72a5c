"""A scenario file becomes problems, or a Scenario."""

from planner.scenario.build import build_scenario
from planner.scenario.model import Scenario, Workload
from planner.scenario.read import read_scenario

__all__ = ["Scenario", "Workload", "build_scenario", "read_scenario"]
