"""Muse Glimmer and Muse Spark."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.known import write_tower


def _spark_audio(config: Config, s: Sheet) -> None:
    """Stages of patches and depthwise convolutions, each wider than the last."""
    n_in = 1
    for patch, h, deep in zip(config.patch_sizes, config.hidden_sizes, config.depths, strict=True):
        stage = s.at("layers.{j}")
        stage.linear("patch_embedder.proj", n_in * patch, h, bias=True)
        stage.norm("patch_embedder.norm", h, "rms")
        b, inner = stage.at("conv_blocks.{j}", copies=deep), int(h * config.mlp_ratio)
        b.conv("conv", h, 1, config.conv_kernel_size)
        b.norm("norm", h, "rms")
        b.linear("mlp.fc1", h, inner, bias=True)
        b.linear("mlp.fc2", inner, h, bias=True)
        n_in = h
    s.norm("norm", n_in, "rms")
    s.linear("proj", n_in, config.out_hidden_size, bias=True)
    s.norm("post_proj_norm", config.out_hidden_size, "rms")


def _glimmer(config: Config, text: Config, s: Sheet) -> None:
    write_tower(config.sub("vision_config"), s.at("vision_tower"))
    _adapter(config, text, s)


def _spark(config: Config, text: Config, s: Sheet) -> None:
    write_tower(config.sub("vision_config"), s.at("vision_tower"))
    _spark_audio(config.sub("audio_config"), s.at("audio_tower"))
    _adapter(config, text, s)


def _adapter(config: Config, text: Config, s: Sheet) -> None:
    inner = int(config.projector_hidden_size)
    s.linear("vision_adapter.fc1", config.out_hidden_size, inner)
    s.linear("vision_adapter.fc2", inner, inner)
    s.booked("other").linear("vision_projection", inner, text.hidden_size)


COMPOSITES = (
    Composite(types=("muse_glimmer",), parts=_glimmer, tie="text"),
    Composite(types=("muse_spark",), parts=_spark, tie="text"),
)
