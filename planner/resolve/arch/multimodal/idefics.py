"""The first Idefics, and Kosmos-2."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family, depth
from planner.resolve.arch.mlp import gated, plain, write_gated
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Plan, Sheet
from planner.resolve.arch.towers.block import clip


def _idefics(config: Config, text: Config, s: Sheet) -> None:
    """CLIP, gated cross-attention between the layers, and a resampler where there is one."""
    own, h = config.sub("vision_config"), text.hidden_size
    v = own.embed_dim
    clip(own, s.at("vision_model"))
    crossing = depth(text) // int(config.cross_layer_interval)
    g = s.booked("attention", whole=False).at("gated_cross_attn_layers.{j}", copies=crossing)
    g.param("alpha_cross_attn", 1)
    g.param("alpha_dense", 1)
    a, d = g.at("cross_attn"), h // config.num_attention_heads
    a.linear("q_proj", h, h)
    a.linear("k_proj", v, h)
    a.linear("v_proj", v, h)
    a.linear("o_proj", h, h, split="row")
    if config.get("qk_layer_norms"):
        a.norm("q_layer_norm", d, "rms")
        a.norm("k_layer_norm", d, "rms")
    write_gated(g.at("mlp"), h, text.intermediate_size)
    g.norm("input_layernorm", h, "rms")
    g.norm("post_attention_layernorm", h, "rms")
    more = int(config.get("additional_vocab_size", 0))
    if more:
        e = s.booked("embedding", whole=False)
        e.embedding("embed_tokens.additional_embedding", more, h)
    if config.get("use_resampler"):
        _resampler(config.sub("perceiver_config"), v, s.booked("other").at("perceiver_resampler"))


def _resampler(config: Config, v: int, r: Sheet) -> None:
    wide = config.resampler_n_heads * config.resampler_head_dim
    r.param("latents", config.resampler_n_latents, v)
    b = r.at("blocks.{j}.0", copies=config.resampler_depth)
    b.norm("context_layer_norm", v, "layer")
    b.norm("latents_layer_norm", v, "layer")
    if config.get("qk_layer_norms_perceiver"):
        b.norm("q_layer_norm", config.resampler_head_dim, "layer")
        b.norm("k_layer_norm", config.resampler_head_dim, "layer")
    for name in ("q_proj", "k_proj", "v_proj"):
        b.linear(name, v, wide)
    b.linear("output_proj", wide, v)
    m = r.at("blocks.{j}.1", copies=config.resampler_depth)
    m.norm("ln", v, "layer")
    m.linear("fc", v, 4 * v)
    m.linear("c_proj", 4 * v, v)
    r.norm("layer_norm", v, "layer")


def _kosmos2(config: Config, text: Config, s: Sheet) -> None:
    own, h = config.sub("vision_config"), text.hidden_size
    clip(own, s.at("vision_model.model"))
    p = s.booked("other").at("image_to_text_projection")
    p.param("latent_query", config.latent_query_num, h)
    p.linear("dense", own.hidden_size, h, bias=True)
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        p.linear(f"x_attn.{name}", h, h, bias=True)


def _more_words(config: Config, _: Plan, s: Sheet) -> None:
    more = int(config.get("additional_vocab_size", 0))
    if more:
        tied = bool(config.get("tie_word_embeddings"))
        s.linear("lm_head.additional_fc", config.hidden_size, more, role="lm_head", tied=tied)


FAMILIES = (
    Family(types=("idefics_text",), attention=gqa(), mlp=gated(), outside=_more_words),
    Family(
        types=("kosmos_2_text_model",),
        attention=gqa(
            names=("q_proj", "k_proj", "v_proj", "out_proj"),
            bias=True,
            dims=even_head_dim,
            extra=lambda config, _, s: s.norm("inner_attn_ln", config.hidden_size),
        ),
        mlp=plain(
            "fc1",
            "fc2",
            scope="ffn",
            inner="ffn_dim",
            bias=True,
            extra=lambda config, _, s: s.norm("ffn_layernorm", config.ffn_dim),
        ),
        norms=("self_attn_layer_norm", "final_layer_norm"),
        norm_kind="layer",
        last_norm="layer_norm",
    ),
)
OLD_COMPOSITES = (
    Composite(types=("idefics",), parts=_idefics, text="", text_root="model"),
    Composite(
        types=("kosmos-2",),
        parts=_kosmos2,
        text_root="text_model.model",
        head="text_model.lm_head",
        prefix="",
        tie="text",
    ),
)
