"""A model of several modalities: its text decoder, its towers and the projectors between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from planner.resolve.arch.config import Config
from planner.resolve.arch.encoders import EncoderRule
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.known import write_tower

Tie = Literal["top", "text", "either"]
Parts = Callable[[Config, Config, Sheet], None]


@dataclass(frozen=True, kw_only=True)
class Composite:
    """One family of multimodal models.

    Attributes:
        types: the model types it reads.
        parts: writes towers and projectors, given the whole config, the text config and a sheet
            for the parts beside the text model.
        inside: key of the nested config that holds all this, where there is one.
        text_class: whether there is a class of the text model alone that a config may name.
        flat: whether a file without the text config gives the text's fields at the top.
        text: key of the text config.
        text_root: what the text model is called.
        prefix: what the parts beside it are called under.
        head: the LM head's name.
        tie: whose tie flag rules: the whole config's (`top`), the text's, or `either`.
        encoder: the largest picture or film, where it is known.
    """

    types: tuple[str, ...]
    parts: Parts
    text: str = "text_config"
    text_root: str = "model.language_model"
    prefix: str = "model."
    head: str = "lm_head"
    tie: Tie = "top"
    flat: bool = False
    inside: str = ""
    text_class: bool = False
    encoder: EncoderRule | None = None


# A model that keeps a whole text model with its head, and its towers beside that.
around_lm = partial(
    Composite,
    text_root="language_model.model",
    head="language_model.lm_head",
    prefix="",
    tie="text",
)


def vision(
    tower: str = "vision_tower", key: str = "vision_config", projector: Parts | None = None
) -> Parts:
    """One vision tower and a projector."""

    def parts(config: Config, text: Config, s: Sheet) -> None:
        write_tower(config.sub(key), s.at(tower))
        if projector is not None:
            projector(config, text, s)

    return parts


def two_linears(
    *,
    scope: str = "multi_modal_projector",
    bias: str | bool = "multimodal_projector_bias",
    layers: bool = True,
) -> Parts:
    """The LLaVA projector; `layers` where features of several tower layers are joined."""

    def parts(config: Config, text: Config, s: Sheet) -> None:
        v, h = config.sub("vision_config").hidden_size, text.hidden_size
        joined = config.get("vision_feature_layer") if layers else None
        times = len(joined) if isinstance(joined, list) else 1
        b = bias if isinstance(bias, bool) else bool(config.get(bias))
        p = s.at(scope)
        p.linear("linear_1", v * times, h, bias=b)
        p.linear("linear_2", h, h, bias=b)

    return parts
