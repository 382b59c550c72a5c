"""Further models of several modalities."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import (
    Composite,
    two_linears,
    vision,
)
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import write_block, write_tower


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


def _omni_thinker(config: Config, text: Config, s: Sheet) -> None:
    write_tower(config.sub("audio_config"), s.at("audio_tower"))
    write_tower(config.sub("vision_config"), s.at("visual"))


def _fuyu(config: Config, text: Config, s: Sheet) -> None:
    wide = config.patch_size**2 * config.num_channels
    s.linear("vision_embed_tokens", wide, text.hidden_size, bias=True)


ARIA_PATCH_QUERIES = {1225: 128, 4900: 256}


def _aria(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    queries = config.get("projector_patch_to_query_dict", ARIA_PATCH_QUERIES)
    p = s.at("multi_modal_projector")
    p.param("query", max(int(count) for count in queries.values()), v)
    c = p.at("cross_attn")
    for name in ("q_proj", "k_proj", "v_proj"):
        c.linear(name, v, v)
    c.param("multihead_attn.in_proj_weight", 3 * v, v)
    c.param("multihead_attn.in_proj_bias", 3 * v)
    c.linear("multihead_attn.out_proj", v, v, bias=True)
    c.linear("linear", v, v, bias=True)
    c.norm("layer_norm", v, "layer")
    c.norm("layer_norm_kv", v, "layer")
    p.norm("layer_norm", v, "layer")
    p.linear("feed_forward.linear_in", v, h)
    p.linear("feed_forward.linear_out", h, h)


def _ernie(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_tower"))
    wide = own.hidden_size * own.spatial_merge_size**2
    # The reference counts the resampler with the text.
    r = s.booked("mlp", whole=False).at("resampler_model")
    for name, n_in in (
        ("spatial_linear", wide),
        ("temporal_linear", wide * own.temporal_merge_size),
    ):
        x = r.at(name)
        x.linear("fc1", n_in, wide, bias=True)
        x.linear("fc2", wide, wide, bias=True)
        x.norm("ln", wide, "layer")
    r.linear("mlp", wide, text.hidden_size, bias=True)
    r.norm("after_norm", text.hidden_size, "rms")


def _ovis(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_tower"))
    s.booked("other").embedding("visual_embeddings_table", own.vocab_size, config.hidden_size)


def _vipllava(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    joined = config.vision_feature_layers
    wide = v * (len(joined) if isinstance(joined, list) else 1)
    p = s.at("multi_modal_projector")
    p.norm("projector_layernorm", wide, "layer")
    p.linear("linear_1", wide, h, bias=True)
    p.linear("linear_2", h, h, bias=True)


def _video_llava(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.booked("other").at("video_tower"))
    write_tower(own, s.at("image_tower"))
    two_linears()(config, text, s)


def _got_ocr(config: Config, text: Config, s: Sheet) -> None:
    c, h = config.sub("vision_config").output_channels, text.hidden_size
    p = s.at("multi_modal_projector")
    p.conv("conv_upsampler1", 2 * c, c, 3, 3, bias=False)
    p.conv("conv_upsampler2", h, 2 * c, 3, 3, bias=False)
    p.linear("multimodal_projector", h, h, bias=True)


def _lighton(config: Config, text: Config, s: Sheet) -> None:
    own, h = config.sub("vision_config"), text.hidden_size
    v = own.hidden_size
    write_tower(own, s.at("vision_encoder"))
    p = s.booked("other").at("vision_projection")
    p.norm("norm", v, "rms")
    p.linear("patch_merger.merging_layer", v * config.spatial_merge_size**2, v)
    p.linear("linear_1", v, h)
    p.linear("linear_2", h, h)


def _paddleocr(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("visual"))
    v = own.hidden_size
    wide = v * own.spatial_merge_size**2
    s.norm("projector.pre_norm", v, "layer")
    s.linear("projector.linear_1", wide, wide, bias=True)
    s.linear("projector.linear_2", wide, text.hidden_size, bias=True)


def _glmasr(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    s.linear(
        "multi_modal_projector.linear_1", own.intermediate_size, 2 * text.hidden_size, bias=True
    )
    s.linear("multi_modal_projector.linear_2", 2 * text.hidden_size, text.hidden_size, bias=True)


def _minimax_m3(config: Config, text: Config, s: Sheet) -> None:
    write_tower(config.sub("vision_config"), s.at("vision_tower"))


def _minicpmv(config: Config, text: Config, s: Sheet) -> None:
    """SigLIP without its pooling head, and a resampler with learned queries."""
    own = config.sub("vision_config")
    e, v = text.hidden_size, own.hidden_size
    t = s.at("vpm")
    h, p = own.hidden_size, own.patch_size
    t.conv("embeddings.patch_embedding", h, own.num_channels, p, p)
    t.embedding("embeddings.position_embedding", (own.image_size // p) ** 2, h)
    write_block(t.at("encoder.layers.{j}", copies=own.num_hidden_layers), h, own.intermediate_size)
    t.norm("post_layernorm", h, "layer")
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


def _phi3_v(config: Config, text: Config, s: Sheet) -> None:
    """CLIP ViT-L/14 at 336 pixels with all its layers, and the sub-image separators."""
    own = Config({"image_size": 336, **CLIP_LARGE}, "CLIPVisionConfig", parent=config)
    v = s.at("vision_embed_tokens")
    write_tower(own, v.at("img_processor.vision_model"))
    h = text.hidden_size
    v.param("glb_GN", 1, 1, 4 * own.hidden_size)
    v.param("sub_GN", 1, 1, 1, 4 * own.hidden_size)
    v.linear("img_projection.0", 4 * own.hidden_size, h, bias=True)
    v.linear("img_projection.2", h, h, bias=True)
    config.assume("the vision tower is CLIP ViT-L/14 at 336 pixels, as img_processor names it")


def _internvl_chat(config: Config, text: Config, s: Sheet) -> None:
    """InternViT as its checkpoints name it, pixel shuffle, and a two-layer projector."""
    own, out = config.sub("vision_config"), text.hidden_size
    h, p = own.hidden_size, own.patch_size
    v = s.at("vision_model")
    v.param("embeddings.class_embedding", 1, 1, h)
    v.conv("embeddings.patch_embedding", h, 3, p, p)
    v.param("embeddings.position_embedding", 1, (own.image_size // p) ** 2 + 1, h)
    b = v.at("encoder.layers.{j}", copies=own.num_hidden_layers)
    write_block(
        b,
        h,
        own.intermediate_size,
        attention="attn",
        names=("qkv", "proj"),
        qkv_bias=bool(own.get("qkv_bias")),
        norms=("norm1", "norm2"),
        norm_kind="rms" if own.get("norm_type") == "rms_norm" else "layer",
    )
    b.param("ls1", h)
    b.param("ls2", h)
    if own.get("qk_normalization"):
        b.norm("attn.q_norm", h, "rms")
        b.norm("attn.k_norm", h, "rms")
    wide = h * int(1 / config.downsample_ratio) ** 2
    m = s.at("mlp1")
    m.norm("0", wide, "layer")
    m.linear("1", wide, out, bias=True)
    m.linear("3", out, out, bias=True)


CLIP_LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
}


LATE_COMPOSITES = (
    Composite(
        types=("minicpmv",),
        parts=_minicpmv,
        text="",
        text_root="llm.model",
        head="llm.lm_head",
        prefix="",
    ),
    Composite(
        types=("internvl_chat",),
        parts=_internvl_chat,
        text="llm_config",
        text_root="language_model.model",
        head="language_model.lm_head",
        prefix="",
        tie="text",
    ),
    Composite(types=("phi3_v",), parts=_phi3_v, text="", text_root="model"),
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
    Composite(types=("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker"), parts=_omni_thinker),
    Composite(
        types=("qwen2_5_omni", "qwen3_omni_moe"),
        parts=_omni_thinker,
        inside="thinker_config",
        text_root="thinker.model.language_model",
        prefix="thinker.model.",
        head="thinker.lm_head",
    ),
    Composite(types=("fuyu",), parts=_fuyu, flat=True),
    Composite(types=("aria",), parts=vision(projector=_aria)),
    Composite(types=("ernie4_5_vl_moe",), parts=_ernie, flat=True),
    Composite(types=("ovis2",), parts=_ovis),
    Composite(types=("vipllava",), parts=vision(projector=_vipllava)),
    Composite(types=("video_llava",), parts=_video_llava),
    Composite(types=("got_ocr2",), parts=vision(projector=_got_ocr)),
    Composite(types=("lighton_ocr",), parts=_lighton),
    Composite(types=("paddleocr_vl",), parts=_paddleocr, flat=True, tie="either"),
    Composite(types=("glmasr",), parts=_glmasr),
)
