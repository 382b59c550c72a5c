"""InternViT."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower, patches, side, write_block


def internvl(config: Config, s: Sheet) -> None:
    """InternViT."""
    h, p = config.hidden_size, side(config.patch_size)
    e = s.at("embeddings")
    e.param("cls_token", 1, 1, h)
    if config.get("use_mask_token"):
        e.param("mask_token", 1, 1, h)
    if config.get("use_absolute_position_embeddings"):
        e.param("position_embeddings", 1, patches(config) + 1, h)
    e.conv("patch_embeddings.projection", h, config.num_channels, p, p)
    b = s.at("encoder.layer.{j}", copies=config.num_hidden_layers)
    b.param("lambda_1", h)
    b.param("lambda_2", h)
    kind = "rms" if config.get("norm_type") == "rms_norm" else "layer"
    write_block(
        b,
        h,
        config.intermediate_size,
        attention="attention",
        names=("q_proj", "k_proj", "v_proj", "projection_layer"),
        qkv_bias=bool(config.get("attention_bias")),
        norms=("layernorm_before", "layernorm_after"),
        norm_kind=kind,
    )
    if config.get("use_qk_norm"):
        b.norm("attention.q_norm", h, "rms")
        b.norm("attention.k_norm", h, "rms")
    if not config.get("use_mean_pooling", True):
        s.norm("layernorm", h, "layer")


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


TOWERS: dict[str, Tower] = {
    "qianfan_ocr_vision": qianfan,
    "internvl_vision": internvl,
}
