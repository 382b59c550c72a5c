"""Makes `arch/data/class_defaults.json` from the config classes of the installed transformers.

Run `python -m planner.resolve.derive_defaults` after a new release of transformers (needs the
extra `planner[derive]`). Kept are the fields that can shape a model, the value a class takes when
the file is silent, the fields that may be null, old names, and nested configs, for every type that
the reader describes.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from planner.resolve.arch.families.known import families
from planner.resolve.arch.known import TYPE_ALIASES
from planner.resolve.arch.multimodal.known import composites
from planner.resolve.arch.towers.known import TOWERS

FILE: Final = Path(__file__).parent / "arch" / "data" / "class_defaults.json"
_NO_SHAPE = re.compile(
    r"token_(id|index)|_token$|num_labels|_seed|init|path|impl|^dtype|_dtype$|_eps$|_mode$|_name$"
)
_WORDS_KEPT = re.compile(
    r"activation|^afn$|rank|pattern|types?$|version|architecture|d_head|^feed_forward_proj$"
)
_FLOATS_KEPT = re.compile(r"ratio|factor|mult|expan|_ffn_|drop")
_NOT_ARCHITECTURE = re.compile(
    r"rope_(param|theta|scaling|interleave|type)|^rope|scaling_factor|temperature|loss|aux"
)


class _Table:
    """Classes and types, filled as they are asked for."""

    def __init__(self, transformers: Any) -> None:
        auto = importlib.import_module("transformers.models.auto.configuration_auto")
        self.mapping = auto.CONFIG_MAPPING
        self.base = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)}
        self.parent = transformers.PreTrainedConfig
        self.types: dict[str, str] = {}
        self.classes: dict[str, dict[str, Any]] = {}

    def add_type(self, name: str) -> bool:
        """Add the class of a model type; False where transformers has none."""
        if name in self.types:
            return True
        try:
            found = self.mapping[name]
        except (KeyError, ImportError):
            return False
        self.types[name] = found.__name__
        self.add_class(found)
        return True

    def add_class(self, found: Any) -> str:
        """Add a config class and those nested in it."""
        name = str(found.__name__)
        if name in self.classes:
            return name
        entry: dict[str, Any] = {"model_type": found.model_type}
        self.classes[name] = entry
        fields: dict[str, Any] = {}
        nullable = []
        for field in dataclasses.fields(found):
            if field.name in self.base:
                continue
            value = _default(field)
            if not _shapes_a_model(field.name, value):
                continue
            fields[field.name] = value
            if value is not None and "None" in str(field.type):
                nullable.append(field.name)
        entry["fields"] = fields
        if nullable:
            entry["nullable"] = nullable
        if found.attribute_map:
            entry["aliases"] = dict(found.attribute_map)
        nested = self._nested(found)
        if nested:
            entry["sub"] = nested
        return name

    def _nested(self, found: Any) -> dict[str, Any]:
        nested = {}
        for key, spec in (found.sub_configs_defaults or {}).items():
            own = spec.config_class
            if isinstance(own, type) and issubclass(own, self.parent):
                entry: dict[str, Any] = {"class": self.add_class(own)}
            else:
                entry = {"type": spec.model_type}
                self.add_type(spec.model_type)
            given = {k: v for k, v in spec.init_kwargs.items() if _plain(v)}
            if given:
                entry["given"] = given
            if spec.optional:
                entry["optional"] = True
            nested[key] = entry
        return nested


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None


def _plain(value: Any) -> bool:
    """Whether a value can be written as JSON."""
    if isinstance(value, list | tuple):
        return all(_plain(item) for item in value)
    if isinstance(value, dict):
        return all(_plain(item) for item in value.values())
    return value is None or isinstance(value, bool | int | float | str)


def _shapes_a_model(name: str, value: Any) -> bool:
    """Whether a field can change a shape, a count or what a layer caches."""
    if not _plain(value) or _NO_SHAPE.search(name) or _NOT_ARCHITECTURE.search(name):
        return False
    if isinstance(value, float):
        return _FLOATS_KEPT.search(name) is not None
    if isinstance(value, str):
        return _WORDS_KEPT.search(name) is not None or name.endswith("act")
    return True


def class_defaults(types: Iterable[str]) -> dict[str, Any]:
    """The table of the given model types and of all that is nested in them."""
    table = _Table(importlib.import_module("transformers"))
    for name in sorted(types):
        table.add_type(name)
    return {"types": table.types, "classes": table.classes}


def main() -> None:
    """Write the table for every type that the reader describes."""
    described = {*families(), *composites(), *TYPE_ALIASES.values(), *TOWERS}
    table = class_defaults(described)
    lines = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in table["classes"].items()
    )
    types = json.dumps(table["types"])
    FILE.write_text(f'{{"types": {types},\n"classes": {{\n{lines}\n}}}}\n', encoding="utf-8")
    sys.stdout.write(f"{len(table['types'])} types, {len(table['classes'])} classes\n")


if __name__ == "__main__":
    main()
