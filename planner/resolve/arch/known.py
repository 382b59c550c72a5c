"""Every model type that is described, and the other names that files give some of them."""

from __future__ import annotations

from functools import cache

from planner.resolve.arch import (
    families_late_more,
    families_new,
)
from planner.resolve.arch.config import class_table
from planner.resolve.arch.families import (
    dense,
    dense_fused,
    dense_norms,
    encoder,
    gemma,
    gpt,
    kimi,
    linear_attention,
    mamba,
    mla,
    moe,
    moe_attention,
    moe_dense_first,
    moe_latent,
    ngram,
    per_layer,
    rwkv_xlstm,
    seq2seq,
    sparse_attention,
    zamba,
)
from planner.resolve.arch.family import Family
from planner.resolve.arch.multimodal import (
    idefics,
)
from planner.resolve.arch.multimodal.composite import COMPOSITES, Composite
from planner.resolve.arch.multimodal.merged_patches import NEW_COMPOSITES
from planner.resolve.arch.multimodal.ocr import LATE_COMPOSITES
from planner.resolve.arch.multimodal.phi import TAIL_COMPOSITES
from planner.resolve.arch.multimodal.vector_quantised import VQ_COMPOSITES
from planner.resolve.arch.multimodal_last import LAST_COMPOSITES

TYPE_ALIASES = {
    "kimi_k2": "deepseek_v3",
    "deepseek_ref": "deepseek_v4",
    "ernie4_5_moe_vl": "ernie4_5_vl_moe",
    "Yi": "llama",
    "aquila": "llama",
    "RefinedWebModel": "falcon",
    "stablelm_epoch": "stablelm",
    "phi4mm": "phi4_multimodal",
    "mimo": "qwen2",
    "Dream": "qwen2",
}


# Types that files give to another class than the one known by that name, by the class they name.
TYPES_BY_CLASS = {("git", "Grok1ForCausalLM"): "grok-2"}


@cache
def families() -> dict[str, Family]:
    """Family by model type."""
    modules = (
        dense,
        dense_norms,
        encoder,
        gemma,
        gpt,
        mamba,
        linear_attention,
        kimi,
        moe_dense_first,
        families_late_more,
        mla,
        moe,
        moe_attention,
        families_new,
        ngram,
        dense_fused,
        per_layer,
        seq2seq,
        zamba,
        moe_latent,
        sparse_attention,
        rwkv_xlstm,
        idefics,
    )
    return {name: family for m in modules for family in m.FAMILIES for name in family.types}


@cache
def composites() -> dict[str, Composite]:
    """Multimodal family by model type."""
    return {
        name: item
        for item in (
            *COMPOSITES,
            *LAST_COMPOSITES,
            *LATE_COMPOSITES,
            *kimi.KIMI_COMPOSITES,
            *ngram.NGRAM_COMPOSITES,
            *moe_latent.SPARK_COMPOSITES,
            *NEW_COMPOSITES,
            *TAIL_COMPOSITES,
            *VQ_COMPOSITES,
            *idefics.OLD_COMPOSITES,
        )
        for name in item.types
    }


@cache
def known_model_types() -> tuple[str, ...]:
    """Every `model_type` that can be read without the derive extra."""
    described = {*families(), *composites()} & set(class_table()[0])
    return tuple(sorted({*described, *TYPE_ALIASES}))
