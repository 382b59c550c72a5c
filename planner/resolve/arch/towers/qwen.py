"""Qwen's vision towers, each with the merger of its patches."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower, write_block


def qwen2_vl(config: Config, s: Sheet) -> None:
    """Qwen2-VL's tower and patch merger."""
    h, p, t = config.embed_dim, config.patch_size, config.temporal_patch_size
    s.conv("patch_embed.proj", h, config.in_channels, t, p, p, bias=False)
    write_block(
        s.at("blocks.{j}", copies=config.depth),
        h,
        int(h * config.mlp_ratio),
        attention="attn",
        names=("qkv", "proj"),
        norms=("norm1", "norm2"),
    )
    _merger(s, h, config.spatial_merge_size, config.hidden_size, "layer")


def _merger(s: Sheet, h: int, merge: int, out: int, kind: str) -> None:
    wide = h * merge**2
    m = s.at("merger")
    m.norm("ln_q", h, kind)
    m.linear("mlp.0", wide, wide, bias=True)
    m.linear("mlp.2", wide, out, bias=True)


def qwen2_5_vl(config: Config, s: Sheet) -> None:
    """Qwen2.5-VL's tower with gated MLPs; EXAONE 4.5's has fewer key-value heads."""
    qwen2_5_vl_body(config, s, names=("qkv", "proj"))


def qwen2_5_vl_body(config: Config, s: Sheet, names: tuple[str, ...]) -> None:
    """The same, with the names of its attention projections."""
    h, p, t = config.hidden_size, config.patch_size, config.temporal_patch_size
    kv = config.get("num_key_value_heads")
    s.conv("patch_embed.proj", h, config.in_channels, t, p, p, bias=False)
    write_block(
        s.at("blocks.{j}", copies=config.depth),
        h,
        config.intermediate_size,
        attention="attn",
        names=names,
        mlp_names=("gate_proj", "up_proj", "down_proj"),
        norms=("norm1", "norm2"),
        norm_kind="rms",
        kv=int(kv) * (h // config.num_heads) if kv else None,
    )
    _merger(s, h, config.spatial_merge_size, config.out_hidden_size, "rms")


def qwen2_5_omni_vision(config: Config, s: Sheet) -> None:
    """Qwen2.5-Omni's vision tower: Qwen2.5-VL's with separate projections."""
    qwen2_5_vl_body(config, s, names=("q", "k", "v", "proj"))


def qwen3_vl(config: Config, s: Sheet) -> None:
    """Qwen3-VL's tower with mergers of intermediate layers."""
    names = ("norm", "linear_fc1", "linear_fc2")
    _qwen3_body(config, s, deep="deepstack_merger_list", names=names)


def qwen3_omni_vision(config: Config, s: Sheet) -> None:
    """The same tower with the mergers of Qwen3-Omni."""
    _qwen3_body(config, s, deep="merger_list", names=("ln_q", "mlp.0", "mlp.2"))


def _qwen3_body(config: Config, s: Sheet, *, deep: str, names: tuple[str, str, str]) -> None:
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
    count = len(config.get("deepstack_visual_indexes", []))
    for name, copies, normed in (("merger", 1, h), (f"{deep}.{{j}}", count, wide)):
        if copies:
            m = s.at(name, copies=copies)
            m.norm(names[0], normed, "layer")
            m.linear(names[1], wide, wide, bias=True)
            m.linear(names[2], wide, config.out_hidden_size, bias=True)


TOWERS: dict[str, Tower] = {
    "qwen2_5_omni_vision_encoder": qwen2_5_omni_vision,
    "qwen3_omni_moe_vision_encoder": qwen3_omni_vision,
    "qwen2_vl": qwen2_vl,
    "qwen2_vl_vision": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen2_5_vl_vision": qwen2_5_vl,
    "exaone4_5_vision": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_vision": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl,
    "qwen3_vl_moe_vision": qwen3_vl,
    "cohere_compass_vision": qwen3_vl,
    "qwen3_5": qwen3_vl,
    "qwen4_exp_vision": qwen3_vl,
    "qwen3_5_vision": qwen3_vl,
    "qwen3_5_moe": qwen3_vl,
    "qwen3_5_moe_vision": qwen3_vl,
}
