"""Every model type that can be read, and the other names that files give some of them."""

from __future__ import annotations

from functools import cache

from planner.resolve.arch.config import class_table
from planner.resolve.arch.families.known import families
from planner.resolve.arch.multimodal.known import composites

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
def known_model_types() -> tuple[str, ...]:
    """Every `model_type` that can be read without the derive extra."""
    described = {*families(), *composites()} & set(class_table()[0])
    return tuple(sorted({*described, *TYPE_ALIASES}))
