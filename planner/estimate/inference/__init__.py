"""Inference memory per GPU: weights, cache, working peak, graphs, and what the engine reserves."""

from planner.estimate.inference.estimate import estimate_inference
from planner.estimate.inference.terms import TERMS

__all__ = ["TERMS", "estimate_inference"]
