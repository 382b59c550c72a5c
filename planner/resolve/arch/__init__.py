"""Reads a Hugging Face config into the facts record, by architecture feature.

`config` lays the file over the class defaults; `layers` says how layers are laid out; `attention`,
`mlp`, `recurrent`, `residual` are their blocks; `families/` describes each text model
over them, `towers/` each vision and audio encoder, `multimodal/` what joins the two; `decoder`
writes the tensors and `read` puts the record together.

A new model type is an entry of `FAMILIES`, `TOWERS` or `COMPOSITES` in the module that holds its
kind; a new module has to be named in the package's `known`. The class defaults come from
`planner.resolve.derive_defaults`, or for a class beside its checkpoint from
`data/remote_defaults.json`.
"""

from planner.resolve.arch.config import ConfigProblem, UnknownModelType
from planner.resolve.arch.known import known_model_types
from planner.resolve.arch.read import read_config

__all__ = ["ConfigProblem", "UnknownModelType", "known_model_types", "read_config"]
