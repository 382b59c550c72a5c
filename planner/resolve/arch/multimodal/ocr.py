"""Readers of documents: GOT-OCR, LightOnOCR, PaddleOCR-VL, HunyuanOCR."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import write_block
from planner.resolve.arch.towers.known import write_tower


def _got_ocr(config: Config, text: Config, s: Sheet) -> None:
    c, h = config.sub("vision_config").output_channels, text.hidden_size
    p = s.at("multi_modal_projector")
    p.conv("conv_upsampler1", 2 * c, c, 3, 3, bias=False)
    p.conv("conv_upsampler2", h, 2 * c, 3, 3, bias=False)
    p.linear("multimodal_projector", h, h, bias=True)


def _lighton(config: Config, text: Config, s: Sheet) -> None:
    own, h = config.sub("vision_config"), text.hidden_size
    v = own.hidden_size
    write_tower(own, s.at("vision_encoder"))
    p = s.booked("other").at("vision_projection")
    p.norm("norm", v, "rms")
    p.linear("patch_merger.merging_layer", v * config.spatial_merge_size**2, v)
    p.linear("linear_1", v, h)
    p.linear("linear_2", h, h)


def _paddleocr(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("visual"))
    v = own.hidden_size
    wide = v * own.spatial_merge_size**2
    s.norm("projector.pre_norm", v, "layer")
    s.linear("projector.linear_1", wide, wide, bias=True)
    s.linear("projector.linear_2", wide, text.hidden_size, bias=True)


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


COMPOSITES = (
    Composite(types=("got_ocr2",), parts=vision(projector=_got_ocr)),
    Composite(types=("lighton_ocr",), parts=_lighton),
    Composite(types=("paddleocr_vl",), parts=_paddleocr, flat=True, tie="either"),
    Composite(types=("hunyuan_vl",), parts=_hunyuan_vl, flat=True, tie="either"),
)
