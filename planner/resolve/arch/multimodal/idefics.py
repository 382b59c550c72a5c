"""Idefics 1 to 3, SmolVLM, ModernVBERT, Granite Docling."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.layers import depth
from planner.resolve.arch.mlp import write_gated
from planner.resolve.arch.multimodal.composite import Composite, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.clip import clip
from planner.resolve.arch.towers.siglip import siglip


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


def _idefics2(config: Config, text: Config, s: Sheet) -> None:
    v, h, inner = config.sub("vision_config").hidden_size, text.hidden_size, text.intermediate_size
    m = s.at("connector.modality_projection")
    m.linear("gate_proj", v, inner)
    m.linear("up_proj", v, inner)
    m.linear("down_proj", inner, h)
    own = config.sub("perceiver_config")
    h = int(own.hidden_size) if own.given("hidden_size") else h
    r = s.at("connector.perceiver_resampler")
    q, g, d = own.resampler_n_heads, own.num_key_value_heads, own.resampler_head_dim
    r.param("latents", own.resampler_n_latents, h)
    b = r.at("layers.{j}", copies=own.resampler_depth)
    for name in ("input_latents_norm", "input_context_norm", "post_attention_layernorm"):
        b.norm(name, h, "rms")
    a = b.at("self_attn")
    a.linear("q_proj", h, q * d)
    a.linear("k_proj", h, g * d)
    a.linear("v_proj", h, g * d)
    a.linear("o_proj", q * d, h)
    b.linear("mlp.gate_proj", h, 4 * h)
    b.linear("mlp.up_proj", h, 4 * h)
    b.linear("mlp.down_proj", 4 * h, h)
    r.norm("norm", h, "rms")


def _idefics3(config: Config, text: Config, s: Sheet) -> None:
    v = config.sub("vision_config").hidden_size * config.scale_factor**2
    s.linear("connector.modality_projection.proj", v, text.hidden_size)


def _modernvbert(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    siglip(own, s.at("vision_model"))
    wide = own.hidden_size * int(config.pixel_shuffle_factor) ** 2
    s.linear("connector.modality_projection", wide, text.hidden_size)


COMPOSITES = (
    Composite(types=("idefics",), parts=_idefics, text="", text_root="model"),
    Composite(
        types=("idefics2",),
        parts=vision("vision_model", projector=_idefics2),
        text_root="model.text_model",
    ),
    Composite(
        types=("idefics3", "smolvlm"),
        parts=vision("vision_model", projector=_idefics3),
        text_root="model.text_model",
    ),
    Composite(types=("modernvbert",), parts=_modernvbert, text_root="model.text_model"),
    Composite(
        types=("granite_docling",), parts=vision("vision_model"), text_root="model.text_model"
    ),
)
