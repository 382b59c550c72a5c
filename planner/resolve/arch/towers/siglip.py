"""SigLIP and towers of its shape: Idefics, PaddleOCR-VL, VideoLLaMA 3, Granite Docling, Janus."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower, patches, side, write_block


def siglip(config: Config, s: Sheet) -> None:
    """SigLIP, with its pooling head where the config keeps it."""
    h, p = config.hidden_size, side(config.patch_size)
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p)
    s.embedding("embeddings.position_embedding", patches(config), h)
    _encoder(config, s)
    _pooling_head(config, s)


def _encoder(config: Config, s: Sheet) -> None:
    """The blocks, and the norm behind them."""
    h, inner = config.hidden_size, config.intermediate_size
    write_block(s.at("encoder.layers.{j}", copies=config.num_hidden_layers), h, inner)
    s.norm("post_layernorm", h, "layer")


def _pooling_head(config: Config, s: Sheet) -> None:
    h, inner = config.hidden_size, config.intermediate_size
    if config.get("vision_use_head", True):
        x = s.at("head")
        x.param("probe", 1, 1, h)
        x.param("attention.in_proj_weight", 3 * h, h)
        x.param("attention.in_proj_bias", 3 * h)
        x.linear("attention.out_proj", h, h, bias=True)
        x.norm("layernorm", h, "layer")
        x.linear("mlp.fc1", h, inner, bias=True)
        x.linear("mlp.fc2", inner, h, bias=True)


def siglip_flat(config: Config, s: Sheet) -> None:
    """SigLIP 2, whose patches are flattened before their projection."""
    h, p = config.hidden_size, config.patch_size
    s.linear("embeddings.patch_embedding", config.num_channels * p * p, h, bias=True)
    s.embedding("embeddings.position_embedding", config.num_patches, h)
    _encoder(config, s)


def siglip2(config: Config, s: Sheet) -> None:
    """The same, with the pooling head where the config keeps it."""
    siglip_flat(config, s)
    _pooling_head(config, s)


def idefics(config: Config, s: Sheet) -> None:
    """Idefics 2 and 3, SmolVLM and Aria: SigLIP without a pooling head."""
    h, p = config.hidden_size, config.patch_size
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p)
    s.embedding("embeddings.position_embedding", (config.image_size // p) ** 2, h)
    _encoder(config, s)


def paddleocr(config: Config, s: Sheet) -> None:
    """PaddleOCR-VL: the same below one more module."""
    idefics(config, s.at("vision_model"))


def video_llama3(config: Config, s: Sheet) -> None:
    """VideoLLaMA 3: SigLIP without learned positions."""
    h, p = config.hidden_size, config.patch_size
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p)
    _encoder(config, s)


def granite_docling(config: Config, s: Sheet) -> None:
    """Granite Docling: Idefics' encoder with two routes of merged features."""
    idefics(config, s)
    v, out, r = config.hidden_size, config.out_hidden_size, config.scale_factor
    c = s.at("connector")
    c.norm("ln_in", v, "layer")
    deep = len(config.get("deepstack_visual_indexes", [3, 7, 10]))
    routes = [("coarse", v * r * r)]
    if config.get("use_fine_route", True):
        routes.append(("fine", v * (r // 2) ** 2))
    for name, wide in routes:
        x = c.at(name)
        x.linear("projection", wide, out)
        m = x.at("deepstack_mergers.{j}", copies=deep)
        m.norm("layer_norm", wide, "layer")
        m.linear("linear_1", wide, out, bias=True)
        m.linear("linear_2", out, out, bias=True)
    c.norm("ln_mid", out, "layer")
    c.linear("mlp_fc2", out, out)
    c.norm("ln_out", out, "layer")


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


TOWERS: dict[str, Tower] = {
    "video_llama_3_vision": video_llama3,
    "cosmos3_edge_vision": siglip_flat,
    "granite_docling_vision": granite_docling,
    "idefics2_vision": idefics,
    "idefics2": idefics,
    "idefics3_vision": idefics,
    "idefics3": idefics,
    "smolvlm_vision": idefics,
    "paddleocr_vl_vision": paddleocr,
    "janus_vision_model": janus,
    "siglip_vision_model": siglip,
    "siglip2_vision_model": siglip2,
}
