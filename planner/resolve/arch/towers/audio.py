"""Towers of the last year."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import patches, write_block
from planner.resolve.arch.towers.siglip import granite_docling, whisper_block


def muse_vision(config: Config, s: Sheet) -> None:
    """Muse's tower over flattened patches of several frames."""
    h, p = config.hidden_size, config.patch_size
    s.linear("patch_embedder.patch_embedding", 3 * config.patch_temporal * p * p, h)
    rows = config.pos_emb_height * config.pos_emb_width
    s.embedding("patch_embedder.position_embedding_table", rows, h)
    s.norm("ln_pre", h, "layer")
    write_block(
        s.at("layers.{j}", copies=config.num_hidden_layers),
        h,
        config.intermediate_size,
        attention="attn",
        names=("q_proj", "k_proj", "v_proj", "proj"),
        norms=("norm1", "norm2"),
    )
    s.norm("ln_post", h, "layer")


def lfm3_vision(config: Config, s: Sheet) -> None:
    """LFM3-VL's tower of spatial convolutions and some attention."""
    h, inner, k = config.hidden_size, config.intermediate_size, config.conv_kernel_size
    p, t = config.patch_size, config.temporal_patch_size
    s.linear("patch_embed", config.in_channels * p * p * t, h)
    n = config.num_hidden_layers
    types = config.get("layer_types") or [
        "conv" if i < 2 or i % 2 else "full_attention" for i in range(n)
    ]
    convs = sum(kind == "conv" for kind in types[:n])
    if convs:
        c = s.at("layers.{j}.conv", copies=convs)
        c.linear("in_proj", h, 3 * h)
        c.conv("spatial_conv", h, 1, k, k, bias=False)
        c.linear("out_proj", h, h)
    if n > convs:
        a, d = s.at("layers.{j}.self_attn", copies=n - convs), h // config.num_attention_heads
        a.linear("q_proj", h, h)
        a.linear("k_proj", h, config.num_key_value_heads * d)
        a.linear("v_proj", h, config.num_key_value_heads * d)
        a.linear("out_proj", h, h)
        a.norm("q_norm", d, "rms")
        a.norm("k_norm", d, "rms")
    b = s.at("layers.{j}", copies=n)
    b.linear("feed_forward.w1", h, inner)
    b.linear("feed_forward.w3", h, inner)
    b.linear("feed_forward.w2", inner, h)
    b.norm("operator_norm", h, "rms")
    b.norm("ffn_norm", h, "rms")
    s.norm("embedding_norm", h, "rms")


def qwen3_asr(config: Config, s: Sheet) -> None:
    """Qwen3-ASR's encoder."""
    h, c = config.d_model, config.downsample_hidden_size
    whisper_block(
        s.at("layers.{j}", copies=config.encoder_layers), h, config.encoder_ffn_dim, key_bias=True
    )
    s.norm("ln_post", h, "layer")
    s.conv("conv2d1", c, 1, 3, 3)
    s.conv("conv2d2", c, c, 3, 3)
    s.conv("conv2d3", c, c, 3, 3)
    bins = config.num_mel_bins
    for _ in range(3):
        bins = (bins + 1) // 2
    s.linear("conv_out", c * bins, h)


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


def video_llama3(config: Config, s: Sheet) -> None:
    """VideoLLaMA 3: SigLIP without learned positions."""
    h, p = config.hidden_size, config.patch_size
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p)
    write_block(
        s.at("encoder.layers.{j}", copies=config.num_hidden_layers), h, config.intermediate_size
    )
    s.norm("post_layernorm", h, "layer")


def qianfan(config: Config, s: Sheet) -> None:
    """Qianfan-OCR: InternViT with flat names."""
    h, p = config.hidden_size, config.patch_size
    p = p[0] if isinstance(p, list) else p
    e = s.at("embeddings")
    e.param("cls_token", 1, 1, h)
    if config.get("use_absolute_position_embeddings", True):
        e.param("position_embeddings", 1, patches(config) + 1, h)
    e.conv("patch_embeddings.projection", h, config.num_channels, p, p)
    b = s.at("layers.{j}", copies=config.num_hidden_layers)
    b.param("lambda_1", h)
    b.param("lambda_2", h)
    write_block(
        b,
        h,
        config.intermediate_size,
        attention="attention",
        names=("q_proj", "k_proj", "v_proj", "projection_layer"),
        qkv_bias=bool(config.get("attention_bias")),
        norms=("layernorm_before", "layernorm_after"),
    )
    if config.get("use_qk_norm"):
        b.norm("attention.q_norm", h, "rms")
        b.norm("attention.k_norm", h, "rms")
    if not config.get("use_mean_pooling", True):
        s.norm("layernorm", h, "layer")


def minimax_vision(config: Config, s: Sheet) -> None:
    """MiniMax-M3's tower: CLIP over patches of several frames."""
    h, p, t = config.hidden_size, config.patch_size, config.temporal_patch_size
    s.conv("embeddings.proj", h, config.num_channels, t, p, p, bias=False)
    s.norm("pre_layrnorm", h, "layer")
    write_block(s.at("layers.{j}", copies=config.num_hidden_layers), h, config.intermediate_size)


def siglip_flat(config: Config, s: Sheet) -> None:
    """SigLIP 2 over flattened patches, without a pooling head."""
    h, p = config.hidden_size, config.patch_size
    s.linear("embeddings.patch_embedding", config.num_channels * p * p, h, bias=True)
    s.embedding("embeddings.position_embedding", config.num_patches, h)
    write_block(
        s.at("encoder.layers.{j}", copies=config.num_hidden_layers), h, config.intermediate_size
    )
    s.norm("post_layernorm", h, "layer")


def radio(config: Config, s: Sheet) -> None:
    """C-RADIO: class and register tokens, positions for the largest image, layer scales."""
    h, p, c = config.hidden_size, config.patch_size, config.num_channels
    e = s.at("embeddings")
    e.param("position_embedding", 1, (config.max_img_size // p) ** 2, h)
    e.param("cls_register_token", config.num_cls_tokens + config.num_registers, h)
    e.linear("patch_projection", c * p * p, h)
    frames = config.get("video_temporal_patch_size")
    if frames:
        e.linear("video_patch_projection", c * p * p * frames, h)
    b = s.at("encoder.layer.{j}", copies=config.num_hidden_layers)
    write_block(
        b,
        h,
        int(h * config.mlp_ratio),
        attention="attention",
        names=("q_proj", "k_proj", "v_proj", "o_proj"),
        qkv_bias=bool(config.get("qkv_bias")),
        norms=("norm1", "norm2"),
    )
    b.param("layer_scale1.lambda1", h)
    b.param("layer_scale2.lambda1", h)


def molmo2(config: Config, s: Sheet) -> None:
    """Molmo 2's tower."""
    h, p = config.hidden_size, config.patch_size
    image = config.get("image_size") or [378, 378]
    rows = config.get("num_position_embeddings") or (image[0] // p) * (image[1] // p)
    bias = bool(config.get("attention_bias"))
    s.param("positional_embedding", rows, h)
    s.linear("patch_embedding", config.num_channels * p * p, h, bias=True)
    b = s.at("layers.{j}", copies=config.num_hidden_layers)
    d = config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    a = b.at("self_attn")
    a.linear("q_proj", h, q, bias=bias)
    a.linear("k_proj", h, kv, bias=bias)
    a.linear("v_proj", h, kv, bias=bias)
    a.linear("o_proj", q, h, bias=bias)
    b.linear("mlp.fc1", h, config.intermediate_size, bias=True)
    b.linear("mlp.fc2", config.intermediate_size, h, bias=True)
    b.norm("layer_norm1", h, "layer")
    b.norm("layer_norm2", h, "layer")


NEW_TOWERS = {
    "muse_glimmer_vision": muse_vision,
    "muse_spark_vision": muse_vision,
    "lfm3_vl_vision": lfm3_vision,
    "qwen3_asr_encoder": qwen3_asr,
    "voxtral_realtime_encoder": voxtral_realtime,
    "video_llama_3_vision": video_llama3,
    "qianfan_ocr_vision": qianfan,
    "minimax_m3_vl_vision": minimax_vision,
    "cosmos3_edge_vision": siglip_flat,
    "radio": radio,
    "molmo2_vision": molmo2,
    "granite_docling_vision": granite_docling,
}
