"""Every tower, by the model type of its config."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers import (
    audio,
    clip,
    conformer,
    glm,
    internvl,
    qformer,
    qwen,
    sam,
    siglip,
    vit,
)
from planner.resolve.arch.towers.block import Tower

MODULES = (
    audio,
    clip,
    conformer,
    glm,
    internvl,
    qformer,
    qwen,
    sam,
    siglip,
    vit,
)
TOWERS: dict[str, Tower] = {name: tower for m in MODULES for name, tower in m.TOWERS.items()}


def write_tower(config: Config, s: Sheet) -> None:
    """The tower of a nested config, by its model type."""
    tower = TOWERS.get(config.model_type)
    if tower is None:
        raise config.problem(
            f"vision or audio towers of type '{config.model_type}' are not covered; --derive reads"
            " them from the real class"
        )
    tower(config, s)
