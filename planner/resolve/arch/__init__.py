"""Reads a Hugging Face config into the facts record, by architecture feature.

`config` lays the file over the class defaults; `attention`, `mlp`, `recurrent` are the blocks;
`families_*` describe each family over them; `towers_*` and `multimodal` do the same for vision and
audio; `read` puts the record together.
"""

from planner.resolve.arch.config import ConfigProblem, UnknownModelType
from planner.resolve.arch.known import known_model_types
from planner.resolve.arch.read import read_config

__all__ = ["ConfigProblem", "UnknownModelType", "known_model_types", "read_config"]
