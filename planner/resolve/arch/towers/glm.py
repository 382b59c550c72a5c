"""GLM's vision towers, and Qwen3-Omni's."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import patches, write_block


def qwen3_omni_vision(config: Config, s: Sheet) -> None:
    """The same tower with the mergers of Qwen3-Omni."""
    h, p, t = config.hidden_size, config.patch_size, config.temporal_patch_size
    s.conv("patch_embed.proj", h, config.in_channels, t, p, p)
    s.embedding("pos_embed", config.num_position_embeddings, h)
    write_block(
        s.at("blocks.{j}", copies=config.depth),
        h,
        config.intermediate_size,
        attention="attn",
        names=("qkv", "proj"),
        mlp_names=("linear_fc1", "linear_fc2"),
        norms=("norm1", "norm2"),
    )
    wide = h * config.spatial_merge_size**2
    deep = config.get("deepstack_visual_indexes", [])
    for name, count, normed in (("merger", 1, h), ("merger_list.{j}", len(deep), wide)):
        if count:
            m = s.at(name, copies=count)
            m.norm("ln_q", normed, "layer")
            m.linear("mlp.0", wide, wide, bias=True)
            m.linear("mlp.2", wide, config.out_hidden_size, bias=True)


def glm4v(config: Config, s: Sheet) -> None:
    """GLM-4.1V's tower: learned positions, strided downsampling, gated merger."""
    _glm_tower(config, s, inner=config.out_hidden_size, context=config.intermediate_size)
    s.embedding("embeddings.position_embedding", patches(config), config.hidden_size)
    s.norm("post_conv_layernorm", config.hidden_size, "rms")


def glm_ocr(config: Config, s: Sheet) -> None:
    """GLM-OCR's tower: the same with query and key norms and no learned positions."""
    context = config.out_hidden_size * config.in_channels
    context = int(config.get("projection_intermediate_size") or context)
    _glm_tower(config, s, inner=config.intermediate_size, context=context, ocr=True)
    b = s.at("blocks.{j}.attn", copies=config.depth)
    d = config.hidden_size // config.num_heads
    b.norm("q_norm", d, "rms")
    b.norm("k_norm", d, "rms")


def _glm_tower(config: Config, s: Sheet, *, inner: int, context: int, ocr: bool = False) -> None:
    h, out = config.hidden_size, config.out_hidden_size
    p, t, m = config.patch_size, config.temporal_patch_size, config.spatial_merge_size
    bias = bool(config.get("attention_bias"))
    s.conv("patch_embed.proj", h, config.in_channels, t, p, p)
    write_block(
        s.at("blocks.{j}", copies=config.depth),
        h,
        inner,
        attention="attn",
        names=("qkv", "proj"),
        qkv_bias=bias,
        out_bias=bias and ocr,
        mlp_names=("gate_proj", "up_proj", "down_proj"),
        mlp_bias=bias and ocr,
        norms=("norm1", "norm2"),
        norm_kind="rms",
    )
    g = s.at("merger")
    g.linear("proj", out, out)
    g.norm("post_projection_norm", out, "layer")
    g.linear("gate_proj", out, context)
    g.linear("up_proj", out, context)
    g.linear("down_proj", context, out)
    s.conv("downsample", out, h, m, m)
    s.norm("post_layernorm", h, "rms")
