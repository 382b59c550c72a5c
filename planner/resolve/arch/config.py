"""A model's config file laid over the defaults of its class.

`data/class_defaults.json` holds, for every class, the fields that shape the model with the value
the class takes when the file is silent, the old names that it still accepts, and its nested
configs. The table is data taken from the real classes (see `planner.resolve.derive`); a few
classes that live only beside their checkpoints are described in `data/remote_defaults.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from planner.errors import PlannerError, did_you_mean

# Nested types that files spell in a way of their own.
NESTED_NAMES = {"exaone4_5_text": "exaone4"}
LARGEST_SIZE = 10**9
_INTEGER_ENDINGS = ("_size", "_dim", "_rank", "_heads", "_layers", "_experts", "_per_tok")


class ConfigProblem(PlannerError):
    """A config file that cannot be read as the model it says it is."""


class UnknownModelType(PlannerError):
    """A `model_type` that no description covers."""


@cache
def class_table() -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Config class by model type, and fields, aliases and nested configs by class."""
    types: dict[str, str] = {}
    classes: dict[str, dict[str, Any]] = {}
    folder = resources.files("planner.resolve.arch") / "data"
    for name in ("class_defaults.json", "remote_defaults.json"):
        table = json.loads((folder / name).read_text(encoding="utf-8"))
        types.update(table["types"])
        classes.update(table["classes"])
    old_names = json.loads((folder / "old_names.json").read_text(encoding="utf-8"))
    for name, aliases in old_names.items():
        classes[name]["aliases"] = {**classes[name].get("aliases", {}), **aliases}
    return types, classes


class Config(Mapping[str, Any]):
    """One (nested) config: `config.hidden_size` is the file's value or else the class default.

    A name may be a field or any alias of it. A field that neither the file nor the class knows
    raises ConfigProblem; `get` gives its default instead.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        class_name: str,
        *,
        path: str = "",
        parent: Config | None = None,
        model_type: str = "",
    ) -> None:
        if not isinstance(data, Mapping):
            raise ConfigProblem(f"{path or 'the config'} must be an object, not {data!r:.60}")
        spec = class_table()[1].get(class_name, {})
        self._spec = spec
        self._path = path
        self._parent = parent
        self._aliases: Mapping[str, str] = spec.get("aliases", {})
        self._fields: Mapping[str, Any] = spec.get("fields", {})
        self.assumptions: list[str] = parent.assumptions if parent else []
        self.model_type: str = model_type or str(data.get("model_type") or spec["model_type"])
        self._values: dict[str, Any] = {
            self._aliases.get(name, name): value for name, value in self._fields.items()
        }
        self._given: set[str] = set()
        self._fill(data)

    def _fill(self, data: Mapping[str, Any]) -> None:
        renamed = []
        for key, value in data.items():
            field = self._aliases.get(key, key)
            if field != key and key not in self._fields:
                renamed.append((key, field, value))
                continue
            self._set(key, field, value)
        for key, field, value in renamed:
            if field in self._given and value is not None and self._values[field] != value:
                self.assume(f"{self._where(key)} = {value!r} overrides {field}")
            self._set(key, field, value)

    def _set(self, key: str, field: str, value: Any) -> None:
        default = self._fields.get(key, self._fields.get(field))
        if value is None and default is not None and not self._nullable(key, field):
            self.assume(f"{self._where(key)} is null: taken as the class default {default!r}")
            return
        self._values[field] = self._checked(key, value, default)
        self._given.add(field)

    def _nullable(self, key: str, field: str) -> bool:
        names = self._spec.get("nullable", ())
        return key in names or field in names

    def _checked(self, key: str, value: Any, default: Any) -> Any:
        if isinstance(default, bool):
            if not isinstance(value, bool | None) and value not in (0, 1):
                if not isinstance(value, str | list | int | float):
                    raise self._wrong(key, value, "true or false")
                self.assume(f"{self._where(key)} = {value!r} read as {bool(value)}")
                return bool(value)
            return value
        whole = isinstance(default, int) or (
            default is None and key.endswith(_INTEGER_ENDINGS) and value is not None
        )
        if not whole or isinstance(value, list | dict):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if key.endswith("_pattern") and isinstance(value, str):
            return value
        if isinstance(value, bool | str) and isinstance(default, int):
            raise self._wrong(key, value, "a whole number")
        sized = key.endswith(_INTEGER_ENDINGS)
        if sized and isinstance(value, int) and not isinstance(value, bool) and value < 0:
            raise self._wrong(key, value, "a whole number of at least 0")
        if sized and isinstance(value, int) and value > LARGEST_SIZE:
            raise self._wrong(key, value, f"at most {LARGEST_SIZE:,}")
        return value

    def _where(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _wrong(self, key: str, value: object, wanted: str) -> ConfigProblem:
        return ConfigProblem(f"{self._where(key)} must be {wanted}, not {value!r:.60}")

    @property
    def whole(self) -> Config:
        """The config of the whole model that this one is a part of."""
        return self if self._parent is None else self._parent.whole

    def assume(self, text: str) -> None:
        """Record something that was taken for granted."""
        if text not in self.assumptions:
            self.assumptions.append(text)

    def problem(self, text: str) -> ConfigProblem:
        """An error about this config, with the place."""
        return ConfigProblem(f"{self._path}: {text}" if self._path else text)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._values[self._aliases.get(name, name)]
        except KeyError:
            raise self.problem(f"field '{name}' of type '{self.model_type}' is missing") from None

    def __getitem__(self, name: str) -> Any:
        return self._values[self._aliases.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str, default: Any = None) -> Any:
        """A field's value, or `default` where it is absent or null."""
        value = self._values.get(self._aliases.get(name, name))
        return default if value is None else value

    def first(self, *names: str, default: Any = None) -> Any:
        """The first of several spellings that is there and not null."""
        for name in names:
            value = self.get(name)
            if value is not None:
                return value
        return default

    def changed(self) -> tuple[str, ...]:
        """Fields of the class that the file gives another value than the class does."""
        defaults = {self._aliases.get(name, name): v for name, v in self._fields.items()}
        return tuple(
            name
            for name in self._given
            if name in defaults and self._values[name] != defaults[name]
        )

    def given(self, name: str) -> bool:
        """Whether the file itself says it."""
        return self._aliases.get(name, name) in self._given

    def overlaid(self, other: Config) -> Config:
        """This config with the fields that another one's file gives."""
        for field in other._given:
            value = other._values[field]
            if field in self._fields or not isinstance(value, Mapping):
                self._set(field, self._aliases.get(field, field), value)
        return self

    def has_sub(self, key: str) -> bool:
        """Whether a nested config of that name is there or filled in by the class."""
        if key in self._given:
            return self._values[key] is not None
        return key in self._spec.get("sub", {}) and not self._spec["sub"][key].get("optional")

    def sub(self, key: str, model_type: str = "") -> Config:
        """A nested config, with the defaults that this class gives it."""
        spec = self._spec.get("sub", {}).get(key, {})
        data = self._values.get(key)
        if data is None:
            data = spec.get("given", {})
        if not isinstance(data, Mapping):
            raise self._wrong(key, data, "an object")
        path = f"{self._path}.{key}" if self._path else key
        types, classes = class_table()
        if "class" in spec:
            class_name = spec["class"]
            kind = classes[class_name]["model_type"]
        else:
            kind = str(data.get("model_type") or model_type or spec.get("type") or "")
            kind = NESTED_NAMES.get(kind, kind)
            if kind not in types:
                raise UnknownModelType(
                    f"{path}: unknown model_type '{kind}'; {did_you_mean(kind, types)}"
                )
            class_name = types[kind]
        return Config(data, class_name, path=path, parent=self, model_type=kind)


def top_config(data: Mapping[str, Any], model_type: str) -> Config:
    """The config of a whole model of a known type."""
    return Config(data, class_table()[0][model_type], model_type=model_type)
