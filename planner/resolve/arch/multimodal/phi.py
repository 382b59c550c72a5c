"""Gemma 3n, Phi-4 multimodal, MiniCPM-V 4.6 and its kin, Hunyuan-VL."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import siglip, write_block

# Parameters of timm's encoder without its classifier, counted from timm 1.0.31's class.
TIMM_ENCODERS = {"mobilenetv5_300m_enc": 294_126_912}


def _gemma3n(config: Config, text: Config, s: Sheet) -> None:
    h = text.hidden_size
    own = config.sub("vision_config")
    count = TIMM_ENCODERS.get(str(own.get("architecture", "")))
    if count is None:
        raise own.problem(
            f"timm's encoder '{own.get('architecture')}' is not covered; use --derive"
        )
    s.param("vision_tower.timm_model.parameters", count)
    config.assume(f"the vision tower is counted as a whole: {count:,} parameters in timm's class")
    _gemma3n_audio(config.sub("audio_config"), s.at("audio_tower"))
    for name in ("vision", "audio"):
        part = config.sub(f"{name}_config")
        e = s.at(f"embed_{name}")
        e.embedding("embedding", part.vocab_size, part.hidden_size)
        e.norm("hard_embedding_norm", part.hidden_size, "rms")
        e.norm("soft_embedding_norm", part.hidden_size, "rms")
        e.linear("embedding_projection", part.hidden_size, h)


def _gemma3n_audio(config: Config, s: Sheet) -> None:
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


def _phi4(config: Config, text: Config, s: Sheet) -> None:
    """Vision and speech below the embedding, each with its projection into the text."""
    h = text.hidden_size
    v, a = config.sub("vision_config"), config.sub("audio_config")
    i = s.at("image_embed")
    i.param("global_img_feature_extensor", 1, 1, v.hidden_size)
    i.param("sub_img_feature_extensor", 1, 1, 1, v.hidden_size)
    siglip(v, i.at("img_processor"))
    i.linear("img_projection_up", v.hidden_size, h, bias=True)
    i.linear("img_projection_down", h, h, bias=True)
    x = s.at("audio_embed")
    _phi4_audio(a, x.at("encoder"))
    for name in ("speech", "vision_speech"):
        x.linear(f"up_proj_for_{name}", a.hidden_size * a.downsample_rate, h, bias=True)
        x.linear(f"down_proj_for_{name}", h, h, bias=True)


def _phi4_audio(config: Config, s: Sheet) -> None:
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


def _minicpm46(config: Config, text: Config, s: Sheet) -> None:
    """SigLIP with a merger halfway, and a second merger into the text."""
    own = config.sub("vision_config")
    h, p, inner = own.hidden_size, own.patch_size, own.intermediate_size
    v = s.at("vision_tower")
    v.conv("embeddings.patch_embedding", h, own.num_channels, p, p)
    v.embedding("embeddings.position_embedding", (own.image_size // p) ** 2, h)
    write_block(v.at("encoder.layers.{j}", copies=own.num_hidden_layers), h, inner)
    v.norm("post_layernorm", h, "layer")
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


def _hunyuan_vl(config: Config, text: Config, s: Sheet) -> None:
    """HunyuanOCR's tower, merged by strided convolutions with learned separators."""
    own, out = config.sub("vision_config"), text.hidden_size
    h, p, m = own.hidden_size, own.patch_size, own.spatial_merge_size
    v = s.at("vision_tower")
    v.conv("embeddings.patch_embedding", h, own.num_channels, p, p)
    v.embedding("embeddings.position_embedding", (own.max_image_size // p) ** 2 + 1, h)
    write_block(
        v.at("layers.{j}", copies=own.num_hidden_layers),
        h,
        own.intermediate_size,
        names=("q_proj", "k_proj", "v_proj", "o_proj"),
    )
    x = v.at("patch_merger")
    x.param("image_newline", 4 * h)
    for name in ("image_begin", "image_end", "image_sep"):
        x.param(name, out)
    x.conv("proj_conv", 2 * h, h, m, m)
    x.conv("proj_out", 4 * h, 2 * h, 1, 1)
    x.linear("mlp", 4 * h, out, bias=True)
    x.norm("before_rms", h, "rms")
    x.norm("after_rms", out, "rms")


TAIL_COMPOSITES = (
    Composite(types=("hunyuan_vl",), parts=_hunyuan_vl, flat=True, tie="either"),
    Composite(types=("gemma3n",), parts=_gemma3n),
    Composite(
        types=("phi4_multimodal",),
        parts=_phi4,
        text="",
        text_root="model",
        prefix="model.embed_tokens_extend.",
    ),
    Composite(types=("minicpmv4_6", "minicpmv4_7", "minicpm_ocr"), parts=_minicpm46),
)
