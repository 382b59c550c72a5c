"""Vision towers of single lines: Pixtral, Kimi, Step, ERNIE, Ovis, C-RADIO, Molmo 2, Muse, LFM3,
Gemma 4."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower, patches, write_block


def pixtral(config: Config, s: Sheet) -> None:
    """Pixtral's encoder with rotary positions."""
    h, p = config.hidden_size, config.patch_size
    s.conv("patch_conv", h, config.num_channels, p, p, bias=False)
    s.norm("ln_pre", h, "rms")
    write_block(
        s.at("transformer.layers.{j}", copies=config.num_hidden_layers),
        h,
        config.intermediate_size,
        attention="attention",
        names=("q_proj", "k_proj", "v_proj", "o_proj"),
        qkv_bias=False,
        out_bias=False,
        mlp="feed_forward",
        mlp_names=("gate_proj", "up_proj", "down_proj"),
        mlp_bias=False,
        norms=("attention_norm", "ffn_norm"),
        norm_kind="rms",
    )


def kimi_vision(config: Config, s: Sheet) -> None:
    """MoonViT of Kimi K2.5."""
    h, p = config.hidden_size, config.patch_size
    s.conv("patch_embed.proj", h, 3, p, p)
    s.param(
        "patch_embed.pos_emb.position_embeddings", config.pos_emb_height, config.pos_emb_width, h
    )
    write_block(
        s.at("layers.{j}", copies=config.num_hidden_layers),
        h,
        config.intermediate_size,
        attention="attn",
        names=("q_proj", "k_proj", "v_proj", "proj"),
        norms=("norm1", "norm2"),
    )
    s.norm("final_layernorm", h, "layer")


def step_vision(config: Config, s: Sheet) -> None:
    """Step 3.7's tower with two strided convolutions behind it."""
    h, p = config.hidden_size, config.patch_size
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p, bias=False)
    s.embedding("embeddings.position_embedding", patches(config), h)
    s.norm("pre_layernorm", h, "layer")
    b = s.at("layers.{j}", copies=config.num_hidden_layers)
    b.param("lambda_1", h)
    b.param("lambda_2", h)
    write_block(b, h, int(h * config.mlp_ratio), norms=("layernorm_before", "layernorm_after"))
    s.conv("downsampler1", 2 * h, h, 3, 3)
    s.conv("downsampler2", 4 * h, 2 * h, 3, 3)


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


def gemma4_vision(config: Config, s: Sheet) -> None:
    """Gemma 4's vision tower with two-dimensional positions."""
    h, p, inner = config.hidden_size, config.patch_size, config.intermediate_size
    d, q, g = config.head_dim, config.num_attention_heads, config.num_key_value_heads
    s.param("patch_embedder.position_embedding_table", 2, config.position_embedding_size, h)
    s.linear("patch_embedder.input_proj", 3 * p * p, h)
    b = s.at("encoder.layers.{j}", copies=config.num_hidden_layers)
    bias = bool(config.get("attention_bias"))
    a = b.at("self_attn")
    for name, n_in, n_out in (
        ("q_proj", h, q * d),
        ("k_proj", h, g * d),
        ("v_proj", h, g * d),
        ("o_proj", q * d, h),
    ):
        a.linear(f"{name}.linear", n_in, n_out, bias=bias)
    a.norm("q_norm", d, "rms")
    a.norm("k_norm", d, "rms")
    m = b.at("mlp")
    m.linear("gate_proj.linear", h, inner)
    m.linear("up_proj.linear", h, inner)
    m.linear("down_proj.linear", inner, h)
    for name in (
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    ):
        b.norm(name, h, "rms")


TOWERS: dict[str, Tower] = {
    "muse_glimmer_vision": muse_vision,
    "muse_spark_vision": muse_vision,
    "lfm3_vl_vision": lfm3_vision,
    "radio": radio,
    "molmo2_vision": molmo2,
    "ernie4_5_vl_moe_vision": ernie_vision,
    "ovis2_vision": ovis,
    "kimi_k25_vision": kimi_vision,
    "step3p5_vision": step_vision,
    "gemma4_vision": gemma4_vision,
    "pixtral": pixtral,
}
