"""Every family of multimodal models, by model type."""

from __future__ import annotations

from functools import cache

from planner.resolve.arch.multimodal import (
    audio,
    deepseek_vl,
    gemma,
    idefics,
    kimi,
    llava,
    merged_patches,
    minicpm,
    muse,
    ocr,
    one_matrix,
    phi,
    queries,
    qwen_glm,
    vector_quantised,
)
from planner.resolve.arch.multimodal.composite import Composite

MODULES = (
    audio,
    deepseek_vl,
    gemma,
    idefics,
    kimi,
    llava,
    merged_patches,
    minicpm,
    muse,
    ocr,
    one_matrix,
    phi,
    queries,
    qwen_glm,
    vector_quantised,
)


@cache
def composites() -> dict[str, Composite]:
    """Multimodal family by model type."""
    return {name: item for m in MODULES for item in m.COMPOSITES for name in item.types}
