"""Further towers: Gemma 4, mllama, Llama 4, SAM, Janus, audio encoders."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import patches, write_block
from planner.resolve.arch.towers.glm import glm4v, glm_ocr, qwen3_omni_vision
from planner.resolve.arch.towers.sam import sam


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


def gemma4_audio(config: Config, s: Sheet) -> None:
    """Gemma 4's conformer."""
    h, k = config.hidden_size, config.conv_kernel_size
    first, second = config.subsampling_conv_channels
    x = s.at("subsample_conv_projection")
    x.conv("layer0.conv", first, 1, 3, 3, bias=False)
    x.norm("layer0.norm", first, "layer_nobias")
    x.conv("layer1.conv", second, first, 3, 3, bias=False)
    x.norm("layer1.norm", second, "layer_nobias")
    x.linear("input_proj_linear", second * first // 4, h)
    b = s.at("layers.{j}", copies=config.num_hidden_layers)
    for name in ("feed_forward1", "feed_forward2"):
        f = b.at(name)
        f.linear("ffw_layer_1.linear", h, 4 * h)
        f.linear("ffw_layer_2.linear", 4 * h, h)
        f.norm("pre_layer_norm", h, "rms")
        f.norm("post_layer_norm", h, "rms")
    a = b.at("self_attn")
    a.param("per_dim_scale", h // config.num_attention_heads)
    for name in ("q_proj.linear", "k_proj.linear", "v_proj.linear", "post.linear"):
        a.linear(name, h, h)
    a.linear("relative_k_proj", h, h)
    c = b.at("lconv1d")
    c.linear("linear_start.linear", h, 2 * h)
    c.linear("linear_end.linear", h, h)
    c.conv("depthwise_conv1d", h, 1, k, bias=False)
    c.norm("pre_layer_norm", h, "rms")
    c.norm("conv_norm", h, "rms")
    for name in ("norm_pre_attn", "norm_post_attn", "norm_out"):
        b.norm(name, h, "rms")
    s.linear("output_proj", h, config.output_proj_dims, bias=True)


MLLAMA_RATIOS = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))


def mllama(config: Config, s: Sheet) -> None:
    """Llama 3.2's tower with tile positions and gated global layers."""
    h, p, inner = config.hidden_size, config.patch_size, config.intermediate_size
    count, tiles = patches(config) + 1, config.max_num_tiles
    rows = len(config.get("supported_aspect_ratios", MLLAMA_RATIOS)) + 1
    s.param("class_embedding", h)
    s.conv("patch_embedding", h, config.num_channels, p, p, bias=False)
    s.param("gated_positional_embedding.gate", 1)
    s.param("gated_positional_embedding.embedding", count, h)
    s.embedding("gated_positional_embedding.tile_embedding", rows, tiles * count * h)
    for name in ("pre_tile_positional_embedding", "post_tile_positional_embedding"):
        s.param(f"{name}.gate", 1)
        s.embedding(f"{name}.embedding", rows, tiles * h)
    s.norm("layernorm_pre", h, "layer")
    s.norm("layernorm_post", h, "layer")
    stacks = (
        ("transformer.layers.{j}", config.num_hidden_layers),
        ("global_transformer.layers.{j}", config.num_global_layers),
    )
    for name, copies in stacks:
        b = s.at(name, copies=copies)
        if name.startswith("global"):
            b.param("gate_attn", 1)
            b.param("gate_ffn", 1)
        write_block(
            b,
            h,
            inner,
            names=("q_proj", "k_proj", "v_proj", "o_proj"),
            qkv_bias=False,
            out_bias=False,
            norms=("input_layernorm", "post_attention_layernorm"),
        )


def llama4(config: Config, s: Sheet) -> None:
    """Llama 4's tower with its pixel-shuffling adapter."""
    h, p, inner = config.hidden_size, config.patch_size, config.intermediate_size
    s.param("class_embedding", h)
    s.param("positional_embedding_vlm", patches(config) + 1, h)
    s.linear("patch_embedding.linear", config.num_channels * p * p, h)
    s.norm("layernorm_pre", h, "layer")
    s.norm("layernorm_post", h, "layer")
    write_block(
        s.at("model.layers.{j}", copies=config.num_hidden_layers),
        h,
        inner,
        names=("q_proj", "k_proj", "v_proj", "o_proj"),
        norms=("input_layernorm", "post_attention_layernorm"),
    )
    a = s.at("vision_adapter.mlp")
    a.linear("fc1", inner, config.projector_input_dim)
    a.linear("fc2", config.projector_output_dim, config.projector_output_dim)


def janus(config: Config, s: Sheet) -> None:
    """Janus' SigLIP-like tower."""
    h, p, bias = config.hidden_size, config.patch_size, bool(config.get("attention_bias"))
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p)
    s.embedding("embeddings.position_embedding", patches(config), h)
    b = s.at("encoder.layers.{j}", copies=config.num_hidden_layers)
    write_block(
        b,
        h,
        int(h * config.mlp_ratio),
        names=("q_proj", "k_proj", "v_proj", "projection_layer"),
        qkv_bias=bias,
    )
    if config.get("use_qk_norm"):
        b.norm("self_attn.q_norm", h, "layer")
        b.norm("self_attn.k_norm", h, "layer")
    s.norm("post_layernorm", h, "layer")


def whisper(config: Config, s: Sheet) -> None:
    """The encoder of Whisper."""
    h, inner = config.d_model, config.encoder_ffn_dim
    s.conv("conv1", h, config.num_mel_bins, 3)
    s.conv("conv2", h, h, 3)
    s.embedding("embed_positions", config.max_source_positions, h)
    b = s.at("layers.{j}", copies=config.encoder_layers)
    a = b.at("self_attn")
    a.linear("k_proj", h, h)
    for name in ("v_proj", "q_proj", "out_proj"):
        a.linear(name, h, h, bias=True)
    b.linear("fc1", h, inner, bias=True)
    b.linear("fc2", inner, h, bias=True)
    b.norm("self_attn_layer_norm", h, "layer")
    b.norm("final_layer_norm", h, "layer")
    s.norm("layer_norm", h, "layer")


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


def granite_speech(config: Config, s: Sheet) -> None:
    """Granite Speech's conformer with its intermediate CTC head."""
    h, inner = config.hidden_dim, config.hidden_dim * config.feedforward_mult
    wide = h * config.conv_expansion_factor
    d = int(config.get("dim_head") or h // config.num_heads)
    s.linear("input_linear", config.input_dim, h, bias=True)
    b = s.at("layers.{j}", copies=config.num_layers)
    for name in ("ff1", "ff2"):
        f = b.at(name)
        f.norm("pre_norm", h, "layer")
        f.linear("up_proj", h, inner, bias=True)
        f.linear("down_proj", inner, h, bias=True)
    a = b.at("attn")
    a.norm("pre_norm", h, "layer")
    a.linear("to_q", h, d * config.num_heads)
    a.linear("to_kv", h, 2 * d * config.num_heads)
    a.linear("to_out", d * config.num_heads, h, bias=True)
    a.embedding("rel_pos_emb", 2 * config.max_pos_emb + 1, d)
    c = b.at("conv")
    c.norm("norm", h, "layer")
    c.conv("up_conv", 2 * wide, h, 1)
    c.conv("depth_conv.conv", wide, 1, config.conv_kernel_size, bias=False)
    c.norm("batch_norm", wide, "layer")
    c.conv("down_conv", h, wide, 1)
    b.norm("post_norm", h, "layer")
    s.linear("out", h, config.output_dim, bias=True)
    s.linear("out_mid", config.output_dim, h, bias=True)


def qformer(
    config: Config,
    s: Sheet,
    seen: int | None = None,
    *,
    first_norm: bool = True,
    own: int = 0,
) -> None:
    """The querying transformer of BLIP-2; `seen` is the width of what it looks at.

    `own` is its own width, where the config's is not meant.
    """
    seen = config.encoder_hidden_size if seen is None else seen
    h, inner, n = own or config.hidden_size, config.intermediate_size, config.num_hidden_layers
    if first_norm:
        s.norm("layernorm", h, "layer")
    crossing = len(range(0, n, config.cross_attention_frequency))
    for name, width, copies in (
        ("attention", h, n),
        ("crossattention", seen, crossing),
    ):
        a = s.at(f"encoder.layer.{{j}}.{name}", copies=copies)
        a.linear("attention.query", h, h, bias=True)
        a.linear("attention.key", width, h, bias=True)
        a.linear("attention.value", width, h, bias=True)
        a.linear("output.dense", h, h, bias=True)
        a.norm("output.LayerNorm", h, "layer")
    b = s.at("encoder.layer.{j}", copies=n)
    routes = ["_query"] + ([""] if config.get("use_qformer_text_input") else [])
    for route in routes:
        b.linear(f"intermediate{route}.dense", h, inner, bias=True)
        b.linear(f"output{route}.dense", inner, h, bias=True)
        b.norm(f"output{route}.LayerNorm", h, "layer")


MORE_TOWERS = {
    "qwen3_omni_moe_vision_encoder": qwen3_omni_vision,
    "glm4v_vision": glm4v,
    "glm4v_moe_vision": glm4v,
    "glm_ocr_vision": glm_ocr,
    "glm5_next_vision": glm_ocr,
    "kimi_k25_vision": kimi_vision,
    "step3p5_vision": step_vision,
    "granite_speech_encoder": granite_speech,
    "granite_speech_plus_encoder": granite_speech,
    "blip_2_qformer": qformer,
    "gemma4_vision": gemma4_vision,
    "gemma4_audio": gemma4_audio,
    "mllama_vision_model": mllama,
    "llama4_vision_model": llama4,
    "sam_vision_model": sam,
    "janus_vision_model": janus,
    "voxtral_encoder": whisper,
    "audioflamingo3_encoder": whisper,
    "qwen2_audio_encoder": whisper,
}
