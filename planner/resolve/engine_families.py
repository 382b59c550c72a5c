"""Constants of an engine that depend on the model's family, by version.

Modeling code changes family by family: Transformers gave Llama last-token logits in 4.45 and Falcon
in 4.47. A profile would have to be cut at each such change, so these stand in a table of their own
(`by_model_type` of a profile file).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from planner.resolve.engine_constants import bound_columns

if TYPE_CHECKING:
    from planner.resolve.engine_profiles import Constant, Engine, Profile, Version

BY_MODEL_TYPE: Final[tuple[str, ...]] = (
    "rope_bytes_per_width",
    "decode_cache_copies",
    "logits_of_all_tokens",
    "bytes_per_logit",
    "held_bytes_per_logit",
    "ignores_windows",
    "ignored_windows_share",
    "caches_query_heads",
    "caches_fused_outputs",
    "reserves_whole_context",
    "is_always_eager",
    "v2_runner",
    "lora_covers_embeddings",
)
"""Constants that a profile file may give by model type."""
_COLUMNS: Final = tuple(column for name in BY_MODEL_TYPE for column in bound_columns(name))
_STRUCT: Final = pl.Struct({"model_type": pl.String} | dict.fromkeys(_COLUMNS, pl.Float64))
FAMILIES_DTYPE: Final = pl.List(_STRUCT)


@dataclass(frozen=True, slots=True)
class FamilyConstant:
    """One constant of some model types over one version range."""

    name: str
    model_types: tuple[str, ...]
    first: Version
    below: Version
    constant: Constant


Families = Mapping[str, Mapping[str, "Constant"]]


def families_at(engine: Engine, profile: Profile, version: Version | None = None) -> Families:
    """Model type -> constants of its own, at a version that `profile` was chosen for.

    A version outside the profile's range takes the nearest end of it, none the upper one.
    """
    if version is not None and version < profile.below:
        at = max(version, profile.first)
        return _by_type(f for f in engine.families if f.first <= at < f.below)
    end = profile.below
    return _by_type(f for f in engine.families if f.first < end <= f.below)


def _by_type(entries: Iterable[FamilyConstant]) -> Families:
    found: dict[str, dict[str, Constant]] = {}
    for entry in entries:
        for model_type in entry.model_types:
            found.setdefault(model_type, {})[entry.name] = entry.constant
    return found


def families_over(engine: Engine, spanning: Mapping[str, Constant]) -> Families:
    """The same where the version is unknown: the newest values, ranging over all versions."""
    newest = families_at(engine, engine.profiles[-1])
    found: dict[str, dict[str, Constant]] = {}
    for entry in engine.families:
        for model_type in entry.model_types:
            mine = found.setdefault(model_type, {})
            known = newest.get(model_type, {}).get(entry.name, spanning[entry.name])
            so_far = mine.get(entry.name, spanning[entry.name])
            mine[entry.name] = type(known)(
                known.value,
                min(so_far.low, entry.constant.low),
                max(so_far.high, entry.constant.high),
                known.points,
                known.source,
            )
    return found


def families_column(families: Families) -> list[dict[str, Any]]:
    """One struct a model type, with nulls where the profile's constant holds (FAMILIES_DTYPE)."""
    return [
        {
            "model_type": model_type,
            **{
                column: value
                for name in BY_MODEL_TYPE
                if name in own
                for column, value in zip(bound_columns(name), _values(own[name]), strict=False)
            },
        }
        for model_type, own in families.items()
    ]


def _values(constant: Constant) -> tuple[float, float, float]:
    return constant.value, constant.low, constant.high


def with_families(cells: pl.LazyFrame, engines: pl.LazyFrame) -> pl.LazyFrame:
    """Cells whose constants are those of their `model_type` where the engine has some.

    Reads `engine`, `engine_version`, `worker`, `model_type`; `engines` as engines_frame gives it.
    """
    keys = ["engine", "engine_version", "worker", "model_type"]
    own = (
        engines.select(*keys[:-1], "by_model_type")
        .explode("by_model_type")
        .filter(pl.col("by_model_type").is_not_null())
        .unnest("by_model_type")
    )
    return (
        cells.join(own, on=keys, how="left", nulls_equal=True, suffix="_of_type")
        .with_columns(pl.coalesce(f"{name}_of_type", name).alias(name) for name in _COLUMNS)
        .drop([f"{name}_of_type" for name in _COLUMNS])
    )
