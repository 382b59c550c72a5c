"""Models that hear: Voxtral, Qwen2-Audio, Qwen3-ASR, Audio Flamingo, GLM-ASR, Granite Speech."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.known import write_tower


def _voxtral(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    s.linear("multi_modal_projector.linear_1", own.intermediate_size, text.hidden_size)
    s.linear("multi_modal_projector.linear_2", text.hidden_size, text.hidden_size)


def _voxtral_realtime(config: Config, text: Config, s: Sheet) -> None:
    own, h = config.sub("audio_config"), text.hidden_size
    write_tower(own, s.at("audio_tower"))
    s.linear("multi_modal_projector.linear_1", own.hidden_size * config.downsample_factor, h)
    s.linear("multi_modal_projector.linear_2", h, h)


def _qwen2_audio(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    s.linear("multi_modal_projector.linear", own.d_model, text.hidden_size, bias=True)


def _qwen3_asr(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    s.linear("multi_modal_projector.linear_1", own.d_model, own.d_model, bias=True)
    s.linear("multi_modal_projector.linear_2", own.d_model, own.output_dim, bias=True)


def _audio_flamingo(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    b = bool(config.get("projector_bias", True))
    s.linear("multi_modal_projector.linear_1", own.d_model, text.hidden_size, bias=b)
    s.linear("multi_modal_projector.linear_2", text.hidden_size, text.hidden_size, bias=b)


def _glmasr(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    s.linear(
        "multi_modal_projector.linear_1", own.intermediate_size, 2 * text.hidden_size, bias=True
    )
    s.linear("multi_modal_projector.linear_2", 2 * text.hidden_size, text.hidden_size, bias=True)


def _granite_speech(config: Config, text: Config, s: Sheet) -> None:
    # The reference counts the speech encoder with the text, and only the projector apart.
    write_tower(config.sub("encoder_config"), s.booked("other").at("encoder"))
    own = config.sub("projector_config")
    p = s.at("projector")
    p.param("query", 1, config.window_size // config.downsample_rate, own.hidden_size)
    write_tower(own, p.at("qformer"))
    p.linear("linear", own.hidden_size, text.hidden_size, bias=True)


COMPOSITES = (
    Composite(types=("voxtral",), parts=_voxtral),
    Composite(types=("voxtral_realtime",), parts=_voxtral_realtime),
    Composite(types=("qwen2_audio",), parts=_qwen2_audio),
    Composite(types=("qwen3_asr",), parts=_qwen3_asr),
    Composite(types=("audioflamingo3",), parts=_audio_flamingo, tie="either"),
    Composite(types=("glmasr",), parts=_glmasr),
    Composite(types=("granite_speech", "granite_speech_plus"), parts=_granite_speech),
)
