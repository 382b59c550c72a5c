"""LLaVA and its kin: two matrices between the tower and the text."""

from __future__ import annotations

from planner.resolve.arch import encoders
from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, Parts, two_linears, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.known import write_tower


def _with_newline(projector: Parts) -> Parts:
    def parts(config: Config, text: Config, s: Sheet) -> None:
        s.param("image_newline", text.hidden_size)
        projector(config, text, s)

    return parts


def _vipllava(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    joined = config.vision_feature_layers
    wide = v * (len(joined) if isinstance(joined, list) else 1)
    p = s.at("multi_modal_projector")
    p.norm("projector_layernorm", wide, "layer")
    p.linear("linear_1", wide, h, bias=True)
    p.linear("linear_2", h, h, bias=True)


def _video_llava(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.booked("other").at("video_tower"))
    write_tower(own, s.at("image_tower"))
    two_linears()(config, text, s)


def _video_llama3(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    s.linear("projector.readout.0", v, h, bias=True)
    s.linear("projector.readout.2", h, h, bias=True)


COMPOSITES = (
    Composite(
        types=("llava",),
        parts=vision(projector=two_linears()),
        tie="either",
        encoder=encoders.llava,
    ),
    Composite(
        types=("llava_next",),
        parts=_with_newline(vision(projector=two_linears())),
        encoder=encoders.llava,
    ),
    Composite(
        types=("llava_onevision", "llava_next_video"),
        parts=_with_newline(vision(projector=two_linears())),
        tie="either",
    ),
    Composite(types=("vipllava",), parts=vision(projector=_vipllava)),
    Composite(types=("video_llava",), parts=_video_llava),
    Composite(
        types=("video_llama_3",),
        parts=vision("vision_model", projector=_video_llama3),
        tie="either",
    ),
)
