"""Audio encoders after Whisper."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower


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


def whisper(config: Config, s: Sheet) -> None:
    """The encoder of Whisper."""
    h = config.d_model
    s.conv("conv1", h, config.num_mel_bins, 3)
    s.conv("conv2", h, h, 3)
    s.embedding("embed_positions", config.max_source_positions, h)
    b = s.at("layers.{j}", copies=config.encoder_layers)
    whisper_block(b, h, config.encoder_ffn_dim, key_bias=False)
    s.norm("layer_norm", h, "layer")


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


def qwen3_asr(config: Config, s: Sheet) -> None:
    """Qwen3-ASR's encoder: three strided convolutions before the blocks."""
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


def qwen3_omni_audio(config: Config, s: Sheet) -> None:
    """Qwen3-Omni's audio tower: the same with two matrices behind it."""
    h = config.d_model
    qwen3_asr(config, s)
    s.linear("proj1", h, h, bias=True)
    s.linear("proj2", h, config.output_dim, bias=True)


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


def voxtral_realtime(config: Config, s: Sheet) -> None:
    """Voxtral Realtime's causal encoder."""
    h, inner = config.hidden_size, config.intermediate_size
    d = int(config.get("head_dim") or h // config.num_attention_heads)
    wide = d * config.num_attention_heads
    s.conv("embedder.conv1", h, config.num_mel_bins, 3)
    s.conv("embedder.conv2", h, h, 3)
    b = s.at("layers.{j}", copies=config.num_hidden_layers)
    a = b.at("self_attn")
    a.linear("q_proj", h, wide, bias=True)
    a.linear("k_proj", h, wide)
    a.linear("v_proj", h, wide, bias=True)
    a.linear("o_proj", wide, h, bias=True)
    b.norm("self_attn_layer_norm", h, "rms")
    b.norm("final_layer_norm", h, "rms")
    b.linear("mlp.gate_proj", h, inner)
    b.linear("mlp.up_proj", h, inner)
    b.linear("mlp.down_proj", inner, h, bias=True)
    s.norm("norm", h, "rms")


TOWERS: dict[str, Tower] = {
    "qwen3_asr_encoder": qwen3_asr,
    "voxtral_realtime_encoder": voxtral_realtime,
    "qwen2_5_omni_audio_encoder": qwen2_5_omni_audio,
    "qwen3_omni_moe_audio_encoder": qwen3_omni_audio,
    "glmasr_encoder": glmasr,
    "voxtral_encoder": whisper,
    "audioflamingo3_encoder": whisper,
    "qwen2_audio_encoder": whisper,
}
