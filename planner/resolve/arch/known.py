"""Every model type that is described, and the other names that files give some of them."""

from __future__ import annotations

from functools import cache

from planner.resolve.arch import (
    families_dense,
    families_dense_more,
    families_encoder,
    families_gemma,
    families_gpt,
    families_hybrid,
    families_hybrid_more,
    families_kimi,
    families_late,
    families_late_more,
    families_mla,
    families_moe,
    families_moe_more,
    families_new,
    families_ngram,
    families_remote,
    families_remote_more,
    families_seq2seq,
    families_shared,
    families_spark,
    families_sparse,
    families_tail,
    multimodal_old,
)
from planner.resolve.arch.config import class_table
from planner.resolve.arch.family import Family
from planner.resolve.arch.multimodal import COMPOSITES, Composite
from planner.resolve.arch.multimodal_last import LAST_COMPOSITES
from planner.resolve.arch.multimodal_late import LATE_COMPOSITES
from planner.resolve.arch.multimodal_new import NEW_COMPOSITES
from planner.resolve.arch.multimodal_tail import TAIL_COMPOSITES
from planner.resolve.arch.multimodal_vq import VQ_COMPOSITES

TYPE_ALIASES = {
    "kimi_k2": "deepseek_v3",
    "deepseek_ref": "deepseek_v4",
    "ernie4_5_moe_vl": "ernie4_5_vl_moe",
    "Yi": "llama",
    "aquila": "llama",
    "RefinedWeb": "falcon",
    "RefinedWebModel": "falcon",
    "stablelm_epoch": "stablelm",
    "phi4mm": "phi4_multimodal",
    "mimo": "qwen2",
    "Dream": "qwen2",
}


_FALCON_NAMES = {
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_head_kv": "num_kv_heads",
}
# What files say that were written before their class came into Transformers, in the names of the
# class, and what their code did without a field: RefinedWeb is the 40B's, RefinedWebModel the 7B's.
EARLIER_NAMES = {"RefinedWeb": _FALCON_NAMES, "RefinedWebModel": _FALCON_NAMES}
EARLIER_FIELDS = {"RefinedWeb": {"new_decoder_architecture": True}}


# Types that files give to another class than the one known by that name, by the class they name.
TYPES_BY_CLASS = {("git", "Grok1ForCausalLM"): "grok-2"}


@cache
def families() -> dict[str, Family]:
    """Family by model type."""
    modules = (
        families_dense,
        families_dense_more,
        families_encoder,
        families_gemma,
        families_gpt,
        families_hybrid,
        families_hybrid_more,
        families_kimi,
        families_late,
        families_late_more,
        families_mla,
        families_moe,
        families_moe_more,
        families_new,
        families_ngram,
        families_remote,
        families_remote_more,
        families_seq2seq,
        families_shared,
        families_spark,
        families_sparse,
        families_tail,
        multimodal_old,
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
            *families_kimi.KIMI_COMPOSITES,
            *families_ngram.NGRAM_COMPOSITES,
            *families_spark.SPARK_COMPOSITES,
            *NEW_COMPOSITES,
            *TAIL_COMPOSITES,
            *VQ_COMPOSITES,
            *multimodal_old.OLD_COMPOSITES,
        )
        for name in item.types
    }


@cache
def known_model_types() -> tuple[str, ...]:
    """Every `model_type` that can be read without the derive extra."""
    described = {*families(), *composites()} & set(class_table()[0])
    return tuple(sorted({*described, *TYPE_ALIASES}))
