"""Conformers: the audio encoders of Gemma, Granite Speech and Phi-4."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower


def gemma3n_audio(config: Config, s: Sheet) -> None:
    """The universal speech model's conformer."""
    h, k = config.hidden_size, config.conf_conv_kernel_size
    x, n_in, bins = s.at("subsample_conv_projection"), 1, config.input_feat_size
    for i, n_out in enumerate(config.sscp_conv_channel_size):
        kernel, stride = config.sscp_conv_kernel_size[i], config.sscp_conv_stride_size[i]
        x.conv(f"conv_{i}.conv", n_out, n_in, kernel[0], kernel[1], bias=False)
        x.norm(f"conv_{i}.norm", n_out, "layer_nobias")
        n_in, bins = n_out, (bins + 2 - kernel[1]) // stride[1] + 1
    x.linear("input_proj_linear", n_in * bins, h)
    b = s.at("conformer.{j}", copies=config.conf_num_hidden_layers)
    for name in ("ffw_layer_start", "ffw_layer_end"):
        f = b.at(name)
        f.norm("pre_layer_norm", h, "rms")
        f.linear("ffw_layer_1", h, 4 * h)
        f.linear("ffw_layer_2", 4 * h, h)
        f.norm("post_layer_norm", h, "rms")
    a = b.at("attention")
    a.norm("pre_attn_norm", h, "rms")
    a.param("attn.per_dim_scale", h // config.conf_num_attention_heads)
    a.linear("attn.relative_position_embedding.pos_proj", h, h)
    for name in ("attn.q_proj", "attn.k_proj", "attn.v_proj", "post"):
        a.linear(name, h, h)
    a.norm("post_norm", h, "rms")
    c = b.at("lconv1d")
    c.norm("pre_layer_norm", h, "rms")
    c.linear("linear_start", h, 2 * h)
    c.conv("depthwise_conv1d", h, 1, k, bias=False)
    c.norm("conv_norm", h, "rms")
    c.linear("linear_end", h, h)
    b.norm("norm", h, "rms")


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


def phi4_audio(config: Config, s: Sheet) -> None:
    """Phi-4's speech encoder, with a gated convolution in every block."""
    h, inner, c = config.hidden_size, config.intermediate_size, config.nemo_conv_channels
    stages = max(int(config.time_reduction).bit_length() - 1, 1)
    bins = config.input_size
    e = s.at("embed")
    e.conv("conv.0", c, 1, 3, 3)
    for stage in range(stages):
        bins = (bins - 1) // 2 + 1
        if stage:
            e.conv(f"conv.{3 * stage - 1}", c, 1, 3, 3)
            e.conv(f"conv.{3 * stage}", c, c, 1, 1)
    e.linear("out", c * bins, h, bias=True)
    rows = config.bias_max_distance * (1 if config.get("bias_symmetric") else 2)
    s.embedding("relative_attention_bias_layer.bias_values", rows, config.num_attention_heads)
    b = s.at("encoders.{j}", copies=config.num_blocks)
    for name in ("feed_forward_in", "feed_forward_out"):
        f = b.at(name)
        f.norm("layer_norm", h, "layer")
        f.linear("gate_up_proj", h, 2 * inner, bias=True)
        f.linear("down_proj", inner, h, bias=True)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        b.linear(f"self_attn.{name}", h, h, bias=True)
    k, wide, out = b.at("conv"), config.ext_pw_out_channel, config.depthwise_separable_out_channel
    k.norm("layer_norm", h, "layer")
    k.param("glu.b1", 1, wide, 1)
    k.param("glu.b2", 1, wide, 1)
    k.conv("glu.ext_pw_conv_1d", 2 * wide, h, 1)
    deep = h * config.depthwise_multiplier
    k.conv("dw_sep_conv_1d.dw_conv", deep, 1, config.kernel_size)
    k.conv("dw_sep_conv_1d.pw_conv", out, deep, 1)
    k.conv("ext_pw_conv_1d", wide, h, 1)
    b.norm("layer_norm_att", h, "layer")
    b.norm("layer_norm", h, "layer")


TOWERS: dict[str, Tower] = {
    "granite_speech_encoder": granite_speech,
    "granite_speech_plus_encoder": granite_speech,
    "gemma4_audio": gemma4_audio,
}
