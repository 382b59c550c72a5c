"""SAM's vision encoder, which several models use."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower, write_block


def sam(config: Config, s: Sheet) -> None:
    """The vision half of SAM, windowed but for a few layers."""
    sam_encoder(config, s.at("vision_encoder"))


def sam_stack(config: Config, v: Sheet) -> None:
    """Patches, positions and blocks of SAM's encoder."""
    h, p, grid = config.hidden_size, config.patch_size, config.image_size // config.patch_size
    if config.get("use_abs_pos"):
        v.param("pos_embed", 1, grid, grid, h)
    v.conv("patch_embed.projection", h, config.num_channels, p, p)
    inner = int(config.get("mlp_dim") or int(h * config.mlp_ratio))
    write_block(
        v.at("layers.{j}", copies=config.num_hidden_layers),
        h,
        inner,
        attention="attn",
        names=("qkv", "proj"),
        qkv_bias=bool(config.get("qkv_bias")),
        mlp_names=("lin1", "lin2"),
    )
    if config.get("use_rel_pos"):
        d = h // config.num_attention_heads
        whole = [i for i in config.global_attn_indexes if i < config.num_hidden_layers]
        for span, copies in (
            (grid, len(whole)),
            (config.window_size, config.num_hidden_layers - len(whole)),
        ):
            if copies:
                r = v.at("layers.{j}.attn", copies=copies)
                r.param("rel_pos_h", 2 * span - 1, d)
                r.param("rel_pos_w", 2 * span - 1, d)


def sam_neck(s: Sheet, n_in: int, n_out: int) -> None:
    """Two convolutions with channel norms."""
    s.conv("conv1", n_out, n_in, 1, 1, bias=False)
    s.norm("layer_norm1", n_out, "layer")
    s.conv("conv2", n_out, n_out, 3, 3, bias=False)
    s.norm("layer_norm2", n_out, "layer")


def sam_encoder(config: Config, s: Sheet) -> None:
    """SAM's encoder under no name of its own, as in GOT-OCR 2."""
    sam_stack(config, s)
    sam_neck(s.at("neck"), config.hidden_size, config.output_channels)


TOWERS: dict[str, Tower] = {
    "got_ocr2_vision": sam_encoder,
    "sam_vision_model": sam,
}
