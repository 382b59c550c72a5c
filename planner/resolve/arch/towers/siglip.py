"""Towers of further vision and audio models, most of them over the shared block."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import patches, qwen2_5_vl_body, write_block
from planner.resolve.arch.towers.sam import sam_neck, sam_stack


def idefics(config: Config, s: Sheet) -> None:
    """Idefics 2 and 3, SmolVLM and Aria: SigLIP without a pooling head."""
    h, p = config.hidden_size, config.patch_size
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p)
    s.embedding("embeddings.position_embedding", (config.image_size // p) ** 2, h)
    write_block(
        s.at("encoder.layers.{j}", copies=config.num_hidden_layers), h, config.intermediate_size
    )
    s.norm("post_layernorm", h, "layer")


def paddleocr(config: Config, s: Sheet) -> None:
    """PaddleOCR-VL: the same below one more module."""
    idefics(config, s.at("vision_model"))


def qwen2_5_omni_vision(config: Config, s: Sheet) -> None:
    """Qwen2.5-Omni's vision tower: Qwen2.5-VL's with separate projections."""
    qwen2_5_vl_body(config, s, names=("q", "k", "v", "proj"))


def qwen2_5_omni_audio(config: Config, s: Sheet) -> None:
    """Qwen2.5-Omni's audio tower."""
    h = config.d_model
    s.conv("conv1", h, config.num_mel_bins, 3)
    s.conv("conv2", h, h, 3)
    s.embedding("audio_bos_eos_token", 2, config.output_dim)
    b = s.at("layers.{j}", copies=config.encoder_layers)
    whisper_block(b, h, config.encoder_ffn_dim, key_bias=False)
    s.norm("ln_post", h, "layer")
    s.linear("proj", h, config.output_dim, bias=True)


def whisper_block(b: Sheet, h: int, inner: int, *, key_bias: bool) -> None:
    """A block of a Whisper-like encoder."""
    a = b.at("self_attn")
    a.linear("k_proj", h, h, bias=key_bias)
    for name in ("v_proj", "q_proj", "out_proj"):
        a.linear(name, h, h, bias=True)
    b.norm("self_attn_layer_norm", h, "layer")
    b.linear("fc1", h, inner, bias=True)
    b.linear("fc2", inner, h, bias=True)
    b.norm("final_layer_norm", h, "layer")


def qwen3_omni_audio(config: Config, s: Sheet) -> None:
    """Qwen3-Omni's audio tower: three strided convolutions before the blocks."""
    h, c = config.d_model, config.downsample_hidden_size
    b = s.at("layers.{j}", copies=config.encoder_layers)
    whisper_block(b, h, config.encoder_ffn_dim, key_bias=True)
    s.norm("ln_post", h, "layer")
    s.conv("conv2d1", c, 1, 3, 3)
    s.conv("conv2d2", c, c, 3, 3)
    s.conv("conv2d3", c, c, 3, 3)
    bins = config.num_mel_bins
    for _ in range(3):
        bins = (bins + 1) // 2
    s.linear("conv_out", c * bins, h)
    s.linear("proj1", h, h, bias=True)
    s.linear("proj2", h, config.output_dim, bias=True)


def ernie_vision(config: Config, s: Sheet) -> None:
    """ERNIE 4.5 VL's tower."""
    h, p = config.hidden_size, config.patch_size
    s.linear("patch_embed.proj", config.in_channels * p * p, h)
    write_block(
        s.at("blocks.{j}", copies=config.depth),
        h,
        config.intermediate_size,
        attention="attn",
        names=("qkv", "proj"),
        norms=("norm1", "norm2"),
    )
    s.norm("ln", h, "layer")


def ovis(config: Config, s: Sheet) -> None:
    """Ovis 2: an encoder and a head over visual words."""
    h, p = config.hidden_size, config.patch_size
    bias = bool(config.get("qkv_bias"))
    t = s.at("transformer")
    t.conv("embeddings.patch_embedding", h, config.num_channels, p, p)
    t.embedding("embeddings.position_embedding", patches(config), h)
    t.norm("embeddings.rms_norm", h, "rms")
    write_block(
        t.at("encoder.layers.{j}", copies=config.num_hidden_layers),
        h,
        config.intermediate_size,
        attention="attention",
        qkv_bias=bias,
        out_bias=bias,
        mlp="ffn",
        mlp_names=("gate_proj", "up_proj", "down_proj"),
        mlp_bias=bool(config.get("mlp_bias")),
        norms=("rms_norm1", "rms_norm2"),
        norm_kind="rms",
    )
    t.norm("rms_norm", h, "rms")
    words = config.vocab_size - config.num_visual_indicator_tokens
    s.linear("head_linear", h * config.hidden_stride**2, words)
    s.norm("head_norm", words, "layer")


def got_ocr(config: Config, s: Sheet) -> None:
    """GOT-OCR 2: SAM's encoder."""
    sam_stack(config, s)
    sam_neck(s.at("neck"), config.hidden_size, config.output_channels)


def glmasr(config: Config, s: Sheet) -> None:
    """GLM-ASR's encoder with rotary positions."""
    h, d = config.hidden_size, config.hidden_size // config.num_attention_heads
    kv = int(config.get("num_key_value_heads") or config.num_attention_heads) * d
    inner = config.intermediate_size
    s.conv("conv1", h, config.num_mel_bins, 3)
    s.conv("conv2", h, h, 3)
    b = s.at("layers.{j}", copies=config.num_hidden_layers)
    a = b.at("self_attn")
    a.linear("q_proj", h, h, bias=True)
    a.linear("k_proj", h, kv)
    a.linear("v_proj", h, kv, bias=True)
    a.linear("o_proj", h, h, bias=True)
    b.linear("mlp.fc1", h, inner, bias=True)
    b.linear("mlp.fc2", inner, h, bias=True)
    b.norm("input_layernorm", h, "layer")
    b.norm("post_attention_layernorm", h, "layer")
    s.norm("norm", h, "layer")


def granite_docling(config: Config, s: Sheet) -> None:
    """Granite Docling: Idefics' encoder with two routes of merged features."""
    idefics(config, s)
    v, out, r = config.hidden_size, config.out_hidden_size, config.scale_factor
    c = s.at("connector")
    c.norm("ln_in", v, "layer")
    deep = len(config.get("deepstack_visual_indexes", [3, 7, 10]))
    routes = [("coarse", v * r * r)]
    if config.get("use_fine_route", True):
        routes.append(("fine", v * (r // 2) ** 2))
    for name, wide in routes:
        x = c.at(name)
        x.linear("projection", wide, out)
        m = x.at("deepstack_mergers.{j}", copies=deep)
        m.norm("layer_norm", wide, "layer")
        m.linear("linear_1", wide, out, bias=True)
        m.linear("linear_2", out, out, bias=True)
    c.norm("ln_mid", out, "layer")
    c.linear("mlp_fc2", out, out)
    c.norm("ln_out", out, "layer")


LATE_TOWERS = {
    "idefics2_vision": idefics,
    "idefics2": idefics,
    "idefics3_vision": idefics,
    "idefics3": idefics,
    "smolvlm_vision": idefics,
    "paddleocr_vl_vision": paddleocr,
    "qwen2_5_omni_vision_encoder": qwen2_5_omni_vision,
    "qwen2_5_omni_audio_encoder": qwen2_5_omni_audio,
    "qwen3_omni_moe_audio_encoder": qwen3_omni_audio,
    "ernie4_5_vl_moe_vision": ernie_vision,
    "ovis2_vision": ovis,
    "got_ocr2_vision": got_ocr,
    "glmasr_encoder": glmasr,
}
