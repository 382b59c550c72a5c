"""Tables of rotary angles that engines make once per model, from the config's rope settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from planner.resolve.arch.config import Config
from planner.resolve.facts import Layer

_SECTIONS_SPAN: Final = 4
"""vLLM makes tables of pictures' positions four times as long (MRotaryEmbedding)."""
_STRETCHED: Final = ("linear", "dynamic")
_WITH_LOCAL_BASE: Final = ("gemma3_text", "gemma3n_text")
"""Families whose class gives sliding layers a base of their own where a config leaves it out."""
_KINDS: Final = ("full_attention", "sliding_attention", "chunked_attention")


def rotary_table_elements(text: Config, layers: Sequence[Layer]) -> int | None:
    """Positions x rotary width over the model's distinct tables; None where nothing is said.

    Positions are the model's, times the factor of linear and dynamic scaling, four times with
    sections for pictures, and the original ones beside the longer with longrope
    (vllm/model_executor/layers/rotary_embedding get_rope). Sliding layers with a base of their own
    have a second table.
    """
    positions = text.first("max_position_embeddings", default=None)
    if not isinstance(positions, int):
        return None
    return sum(
        _positions(settings, positions) * _width(text, settings, layers, local)
        for settings, local in _tables(text)
    )


def _tables(text: Config) -> list[tuple[Mapping[str, Any], bool]]:
    """Settings of each table, and whether it is that of sliding layers."""
    given = text.first("rope_parameters", "rope_scaling", default={})
    settings: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    by_kind = [settings[kind] for kind in _KINDS if isinstance(settings.get(kind), Mapping)]
    if by_kind:
        kinds = [kind for kind in _KINDS if isinstance(settings.get(kind), Mapping)]
        distinct = {
            tuple(sorted((k, str(v)) for k, v in each.items())): (each, kind != _KINDS[0])
            for each, kind in zip(by_kind, kinds, strict=True)
        }
        return list(distinct.values())
    own_base = text.first("rope_local_base_freq", "rope_local_theta", default=None)
    second = own_base is not None or text.model_type in _WITH_LOCAL_BASE
    return [(settings, False), *([({}, True)] if second else [])]


def _positions(settings: Mapping[str, Any], positions: int) -> int:
    kind = str(settings.get("rope_type") or settings.get("type") or "default")
    original = settings.get("original_max_position_embeddings")
    if settings.get("mrope_section"):
        return _SECTIONS_SPAN * int(original or positions)
    if kind in _STRETCHED and "alpha" not in settings:
        return int(positions * float(settings.get("factor") or 1.0))
    if kind in ("longrope", "su") and original:
        return positions + int(original)
    return positions


def _width(text: Config, settings: Mapping[str, Any], layers: Sequence[Layer], local: bool) -> int:
    of_kind = [layer for layer in layers if local == (layer.window_tokens is not None)]
    kept = [layer for layer in (of_kind or layers) if layer.head_dim]
    whole = max((layer.qk_rope_head_dim or layer.head_dim for layer in kept), default=0)
    if str(settings.get("rope_type")) == "proportional":
        return whole
    given = settings.get("partial_rotary_factor")
    share = given or text.first("partial_rotary_factor", "rotary_pct", default=1.0)
    latent = any(layer.qk_rope_head_dim for layer in kept)
    return whole if latent else int(whole * float(share))
