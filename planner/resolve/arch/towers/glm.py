"""GLM's vision towers."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower, patches, write_block


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


TOWERS: dict[str, Tower] = {
    "glm4v_vision": glm4v,
    "glm4v_moe_vision": glm4v,
    "glm_ocr_vision": glm_ocr,
    "glm5_next_vision": glm_ocr,
}
