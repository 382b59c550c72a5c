"""Fine-tuning memory: the peak of one GPU over the phases of a training step."""

from planner.estimate.training.estimate import estimate_training
from planner.estimate.training.terms import TERMS

__all__ = ["TERMS", "estimate_training"]
