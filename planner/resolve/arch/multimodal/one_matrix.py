"""Models with one matrix between the tower, or the raw patches, and the text."""

from __future__ import annotations

from planner.resolve.arch import encoders
from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, around_lm, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.known import write_tower


def _mllama(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_model"))
    s.linear("multi_modal_projector", own.vision_output_dim, text.hidden_size, bias=True)


def _llama4(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_model"))
    s.linear("multi_modal_projector.linear_1", own.vision_output_dim, text.hidden_size)


def _step(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_model"))
    bias = bool(config.get("projector_bias"))
    s.linear("multi_modal_projector", 4 * own.hidden_size, text.hidden_size, bias=bias)


def _clova(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    s.linear("projector", own.out_hidden_size, text.hidden_size, bias=True)


def _fuyu(config: Config, text: Config, s: Sheet) -> None:
    wide = config.patch_size**2 * config.num_channels
    s.linear("vision_embed_tokens", wide, text.hidden_size, bias=True)


def _ovis(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_tower"))
    s.booked("other").embedding("visual_embeddings_table", own.vocab_size, config.hidden_size)


COMPOSITES = (
    Composite(types=("mllama",), parts=_mllama, text_class=True),
    around_lm(
        types=("llama4",),
        parts=_llama4,
        text_class=True,
        encoder=encoders.llama4,
    ),
    Composite(types=("step3p7",), parts=_step),
    Composite(types=("hyperclovax_vision_v2",), parts=vision("vision_model", projector=_clova)),
    Composite(types=("fuyu",), parts=_fuyu, flat=True),
    Composite(types=("ovis2",), parts=_ovis),
)
