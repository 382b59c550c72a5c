"""Every description in the reader's packages is found, and by one place only."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest

from planner.resolve.arch import families, multimodal, towers
from planner.resolve.arch.families import known as known_families
from planner.resolve.arch.multimodal import known as known_composites
from planner.resolve.arch.towers import known as known_towers

PACKAGES = [
    (families, known_families.MODULES, "FAMILIES"),
    (multimodal, known_composites.MODULES, "COMPOSITES"),
    (towers, known_towers.MODULES, "TOWERS"),
]


def described(module: ModuleType, table: str) -> list[str]:
    entries = getattr(module, table)
    return list(entries) if table == "TOWERS" else [name for one in entries for name in one.types]


@pytest.mark.parametrize(
    ("package", "modules", "table"), PACKAGES, ids=["families", "multimodal", "towers"]
)
def test_every_module_with_descriptions_is_known(
    package: ModuleType, modules: tuple[ModuleType, ...], table: str
) -> None:
    names = (f"{package.__name__}.{found.name}" for found in iter_modules(package.__path__))
    found = [import_module(name) for name in names if not name.endswith(".known")]
    assert set(modules) == {module for module in found if hasattr(module, table)}


@pytest.mark.parametrize(
    ("package", "modules", "table"), PACKAGES, ids=["families", "multimodal", "towers"]
)
def test_no_model_type_is_described_twice(
    package: ModuleType, modules: tuple[ModuleType, ...], table: str
) -> None:
    times = Counter(name for module in modules for name in described(module, table))
    assert [name for name, count in times.items() if count > 1] == []
