"""Kimi-VL, K2.5 and K3."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, around_lm
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import write_block
from planner.resolve.arch.towers.known import write_tower


def _kimi_vl(config: Config, text: Config, s: Sheet) -> None:
    """MoonViT, its patches merged two by two before two matrices."""
    own = config.sub("vision_config")
    h, p = own.hidden_size, own.patch_size
    v = s.at("vision_tower")
    v.conv("patch_embed.proj", h, 3, p, p)
    v.param("patch_embed.pos_emb.weight", own.init_pos_emb_height, own.init_pos_emb_width, h)
    write_block(
        v.at("encoder.blocks.{j}", copies=own.num_hidden_layers),
        h,
        own.intermediate_size,
        attention="",
        names=("wqkv", "wo"),
        mlp_names=("fc0", "fc1"),
        norms=("norm0", "norm1"),
    )
    v.norm("encoder.final_layernorm", h, "layer")
    wide = h * own.merge_kernel_size[0] * own.merge_kernel_size[1]
    x = s.at("multi_modal_projector")
    x.norm("pre_norm", h, "layer")
    x.linear("linear_1", wide, wide, bias=True)
    x.linear("linear_2", wide, text.hidden_size, bias=True)


def _kimi(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_tower"))
    v = config.projection_hidden_size
    wide = own.hidden_size * own.merge_kernel_size[0] * own.merge_kernel_size[1]
    p = s.at("mm_projector")
    p.norm("pre_norm", v, "layer")
    p.linear("in_proj", wide, wide, bias=True)
    p.linear("out_proj", wide, text.hidden_size, bias=True)


def _k3(config: Config, text: Config, s: Sheet) -> None:
    """MoonViT with a wider attention than its stream, and a merger of two by two patches."""
    own = config.sub("vision_config")
    config.assume("the vision tower and its projector are read from the names of their fields")
    h, p, wide = int(own.vt_hidden_size), int(own.patch_size), int(own.qkv_hidden_size)
    b, v = bool(own.get("linear_bias")), s.at("vision_tower")
    v.conv("patch_embed.proj", h, 3, p, p, bias=bool(own.get("patch_embed_proj_bias")))
    v.param("patch_embed.pos_emb.weight", own.init_pos_emb_height, own.init_pos_emb_width, h)
    block = v.at("encoder.blocks.{j}", copies=int(own.vt_num_hidden_layers))
    block.linear("wqkv", h, 3 * wide, bias=bool(own.get("attn_bias")))
    block.linear("wo", wide, h, bias=bool(own.get("attn_bias")))
    inner = int(own.vt_intermediate_size)
    block.linear("mlp.fc0", h, inner, bias=b)
    block.linear("mlp.fc1", inner, h, bias=b)
    kind = "rms" if own.get("norm_type") == "rmsnorm" else "layer"
    for name in ("norm0", "norm1"):
        block.norm(name, h, kind)
    v.norm("encoder.final_layernorm", h, kind)
    merged = h * own.merge_kernel_size[0] * own.merge_kernel_size[1]
    x = s.at("mm_projector")
    x.norm("pre_norm", h, kind)
    x.linear("in_proj", merged, merged, bias=b)
    x.linear("out_proj", merged, text.hidden_size, bias=b)


COMPOSITES = (
    around_lm(
        types=("kimi_vl",),
        parts=_kimi_vl,
    ),
    Composite(types=("kimi_k25",), parts=_kimi),
    around_lm(
        types=("kimi_k3",),
        parts=_k3,
    ),
)
