"""DeepSeek-VL and Unlimited-OCR: SAM beside another tower."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import patches, write_block
from planner.resolve.arch.towers.known import write_tower
from planner.resolve.arch.towers.sam import sam_neck, sam_stack


def _deepseek_vl(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    s.linear("aligner.linear1", v, h, bias=True)
    s.linear("aligner.linear2", h, h, bias=True)


def _deepseek_vl_hybrid(config: Config, text: Config, s: Sheet) -> None:
    high = config.sub("high_res_vision_config")
    h, c = text.hidden_size, high.output_channels
    # The reference books only the two towers and the aligner as multimodal; the rest is other.
    write_tower(high, s.at("high_res_vision_model"))
    write_tower(config.sub("vision_config"), s.at("vision_model"))
    o = s.booked("other")
    o.param("high_res_vision_alpha", 1)
    sam_neck(o.at("high_res_vision_neck"), high.hidden_size, c)
    _halved_twice(o.at("high_res_vision_proj"), c)
    s.linear("aligner.vision_proj", config.sub("vision_config").hidden_size, h // 2, bias=True)
    s.linear("aligner.high_res_vision_proj", 4 * c, h // 2, bias=True)
    s.linear("aligner.proj", h, h, bias=True)


def _halved_twice(s: Sheet, channels: int) -> None:
    """Two strided convolutions behind SAM, each with twice the channels of what it reads."""
    s.conv("conv1", 2 * channels, channels, 3, 3, bias=False)
    s.conv("conv2", 4 * channels, 2 * channels, 3, 3, bias=False)


def _unlimited_ocr(config: Config, text: Config, s: Sheet) -> None:
    """SAM and CLIP one behind the other."""
    own, h = config.sub("vision_config"), text.hidden_size
    sam, clip = own.sub("sam_config"), own.sub("encoder_config")
    s.booked("other").param("view_separator", h)
    s.param("image_newline", h)
    a, c = s.at("vision_tower.sam_encoder"), sam.output_channels
    sam_stack(sam, a)
    sam_neck(a.at("neck"), sam.hidden_size, c)
    _halved_twice(a.at("proj"), c)
    e, w = s.at("vision_tower.vision_encoder"), clip.hidden_size
    e.param("embeddings.class_embedding", w)
    e.embedding("embeddings.position_embedding", patches(clip) + 1, w)
    e.norm("pre_layrnorm", w, "layer")
    write_block(
        e.at("encoder.layers.{j}", copies=clip.num_hidden_layers), w, clip.intermediate_size
    )
    s.linear("multi_modal_projector", w + 4 * c, h, bias=True)


COMPOSITES = (
    Composite(types=("deepseek_vl",), parts=vision("vision_model", projector=_deepseek_vl)),
    Composite(types=("deepseek_vl_hybrid",), parts=_deepseek_vl_hybrid),
    Composite(types=("unlimited_ocr",), parts=_unlimited_ocr),
)
