"""MiniCPM-V: learned queries over SigLIP, and two mergers in the younger ones."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.siglip import idefics


def _minicpmv(config: Config, text: Config, s: Sheet) -> None:
    """SigLIP without its pooling head, and a resampler with learned queries."""
    own = config.sub("vision_config")
    e, v = text.hidden_size, own.hidden_size
    idefics(own, s.at("vpm"))
    r = s.at("resampler")
    r.param("query", config.query_num, e)
    if v != e:
        r.linear("kv_proj", v, e)
    r.param("attn.in_proj_weight", 3 * e, e)
    r.param("attn.in_proj_bias", 3 * e)
    r.linear("attn.out_proj", e, e, bias=True)
    for name in ("ln_q", "ln_kv", "ln_post"):
        r.norm(name, e, "layer")
    r.param("proj", e, e)


def _minicpm46(config: Config, text: Config, s: Sheet) -> None:
    """SigLIP with a merger halfway, and a second merger into the text."""
    own = config.sub("vision_config")
    h, inner, v = own.hidden_size, own.intermediate_size, s.at("vision_tower")
    idefics(own, v)
    m, wide = v.at("vit_merger"), 4 * h
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        m.linear(f"self_attn.{name}", h, h, bias=True)
    m.norm("layer_norm1", h, "layer")
    m.norm("pre_norm", wide, "layer")
    m.linear("linear_1", wide, 4 * inner, bias=True)
    m.linear("linear_2", 4 * inner, h, bias=True)
    times = int(config.get("merger_times", 1))
    for j in range(times):
        out = text.hidden_size if j == times - 1 else h
        x = s.booked("mlp", whole=False).at(f"merger.mlp.{j}")
        x.norm("pre_norm", wide, "layer")
        x.linear("linear_1", wide, wide, bias=True)
        x.linear("linear_2", wide, out, bias=True)


COMPOSITES = (
    Composite(
        types=("minicpmv",),
        parts=_minicpmv,
        text="",
        text_root="llm.model",
        head="llm.lm_head",
        prefix="",
    ),
    Composite(types=("minicpmv4_6", "minicpmv4_7", "minicpm_ocr"), parts=_minicpm46),
)
