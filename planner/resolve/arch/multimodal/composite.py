"""Models of several modalities: a text decoder, its towers and the projectors between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers import block
from planner.resolve.arch.towers.audio import NEW_TOWERS
from planner.resolve.arch.towers.block import write_tower
from planner.resolve.arch.towers.sam import sam_neck
from planner.resolve.arch.towers.siglip import LATE_TOWERS
from planner.resolve.arch.towers.vit import MORE_TOWERS

block.TOWERS.update(MORE_TOWERS)
block.TOWERS.update(LATE_TOWERS)
block.TOWERS.update(NEW_TOWERS)
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
        role: what the parts are booked under.
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


def _with_newline(projector: Parts) -> Parts:
    def parts(config: Config, text: Config, s: Sheet) -> None:
        s.param("image_newline", text.hidden_size)
        projector(config, text, s)

    return parts


def gemma3_projector(config: Config, text: Config, s: Sheet) -> None:
    """Gemma 3's norm and matrix between the tower and the text."""
    v = config.sub("vision_config").hidden_size
    s.param("multi_modal_projector.mm_input_projection_weight", v, text.hidden_size)
    s.norm("multi_modal_projector.mm_soft_emb_norm", v, "rms")


def _mistral3(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    joined = config.get("vision_feature_layer")
    times = len(joined) if isinstance(joined, list) else 1
    p, b = s.at("multi_modal_projector"), bool(config.get("multimodal_projector_bias"))
    p.norm("norm", v, "rms")
    p.linear("patch_merger.merging_layer", v * config.spatial_merge_size**2, v)
    p.linear("linear_1", v * times, h, bias=b)
    p.linear("linear_2", h, h, bias=b)


def _internvl(config: Config, text: Config, s: Sheet) -> None:
    v = config.sub("vision_config").hidden_size
    wide = v * int(1 / config.downsample_ratio) ** 2
    p = s.at("multi_modal_projector")
    p.norm("layer_norm", wide, "layer")
    p.linear("linear_1", wide, text.hidden_size, bias=True)
    p.linear("linear_2", text.hidden_size, text.hidden_size, bias=True)


def _paligemma(config: Config, text: Config, s: Sheet) -> None:
    v = config.sub("vision_config").hidden_size
    s.linear("multi_modal_projector.linear", v, config.projection_dim, bias=True)


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
    o.conv("high_res_vision_proj.conv1", 2 * c, c, 3, 3, bias=False)
    o.conv("high_res_vision_proj.conv2", 4 * c, 2 * c, 3, 3, bias=False)
    s.linear("aligner.vision_proj", config.sub("vision_config").hidden_size, h // 2, bias=True)
    s.linear("aligner.high_res_vision_proj", 4 * c, h // 2, bias=True)
    s.linear("aligner.proj", h, h, bias=True)


def _gemma4(config: Config, text: Config, s: Sheet) -> None:
    for kind in ("vision", "audio"):
        if config.has_sub(f"{kind}_config"):
            own = config.sub(f"{kind}_config")
            write_tower(own, s.at(f"{kind}_tower"))
            width = own.hidden_size if kind == "vision" else own.output_proj_dims
            s.linear(f"embed_{kind}.embedding_projection", width, text.hidden_size)


def _mllama(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_model"))
    s.linear("multi_modal_projector", own.vision_output_dim, text.hidden_size, bias=True)


def _llama4(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_model"))
    s.linear("multi_modal_projector.linear_1", own.vision_output_dim, text.hidden_size)


def _cohere2_vision(config: Config, text: Config, s: Sheet) -> None:
    v = config.sub("vision_config").hidden_size * config.downsample_factor**2
    p, inner = s.at("multi_modal_projector"), config.alignment_intermediate_size
    p.linear("linear_1", v, inner, bias=True)
    p.linear("linear_2", inner // 2, text.hidden_size, bias=True)


def _aya_vision(config: Config, text: Config, s: Sheet) -> None:
    v = config.sub("vision_config").hidden_size * config.downsample_factor**2
    p = s.at("multi_modal_projector")
    inner = int(config.get("alignment_intermediate_size") or text.hidden_size)
    p.norm("layernorm", v, "layer")
    p.linear("linear_1", v, inner, bias=True)
    p.linear("linear_2", inner // 2, text.hidden_size, bias=True)


def _lfm2_vl(config: Config, text: Config, s: Sheet) -> None:
    v = config.sub("vision_config").hidden_size * config.downsample_factor**2
    p, b = s.at("multi_modal_projector"), bool(config.get("projector_bias"))
    if config.get("projector_use_layernorm"):
        p.norm("layer_norm", v, "layer")
    p.linear("linear_1", v, config.projector_hidden_size, bias=b)
    p.linear("linear_2", config.projector_hidden_size, text.hidden_size, bias=b)


def _voxtral(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    s.linear("multi_modal_projector.linear_1", own.intermediate_size, text.hidden_size)
    s.linear("multi_modal_projector.linear_2", text.hidden_size, text.hidden_size)


def _qwen2_audio(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    s.linear("multi_modal_projector.linear", own.d_model, text.hidden_size, bias=True)


def _kimi(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_tower"))
    v = config.projection_hidden_size
    wide = own.hidden_size * own.merge_kernel_size[0] * own.merge_kernel_size[1]
    p = s.at("mm_projector")
    p.norm("pre_norm", v, "layer")
    p.linear("in_proj", wide, wide, bias=True)
    p.linear("out_proj", wide, text.hidden_size, bias=True)


def _step(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_model"))
    bias = bool(config.get("projector_bias"))
    s.linear("multi_modal_projector", 4 * own.hidden_size, text.hidden_size, bias=bias)


def _granite_speech(config: Config, text: Config, s: Sheet) -> None:
    # The reference counts the speech encoder with the text, and only the projector apart.
    write_tower(config.sub("encoder_config"), s.booked("other").at("encoder"))
    own = config.sub("projector_config")
    p = s.at("projector")
    p.param("query", 1, config.window_size // config.downsample_rate, own.hidden_size)
    write_tower(own, p.at("qformer"))
    p.linear("linear", own.hidden_size, text.hidden_size, bias=True)


VISUAL = vision("visual")

COMPOSITES = (
    Composite(types=("gemma3",), parts=vision(projector=gemma3_projector)),
    Composite(
        types=(
            "qwen3_vl",
            "qwen3_vl_moe",
            "glm46v",
            "glmga",
            "exaone4_5",
            "glm5_next",
        ),
        parts=VISUAL,
    ),
    Composite(types=("qwen2_vl", "qwen2_5_vl"), parts=VISUAL, flat=True, tie="either"),
    Composite(types=("glm4v", "glm4v_moe", "glm_ocr"), parts=VISUAL, tie="either"),
    Composite(types=("qwen3_5", "qwen3_5_moe"), parts=VISUAL, text_class=True),
    Composite(types=("kimi_k25",), parts=_kimi),
    Composite(types=("step3p7",), parts=_step),
    Composite(types=("granite_speech", "granite_speech_plus"), parts=_granite_speech),
    Composite(types=("mistral3", "mistral_large4"), parts=vision(projector=_mistral3)),
    Composite(types=("internvl",), parts=vision(projector=_internvl)),
    Composite(types=("llava",), parts=vision(projector=two_linears()), tie="either"),
    Composite(
        types=("llava_onevision", "llava_next_video"),
        parts=_with_newline(vision(projector=two_linears())),
        tie="either",
    ),
    Composite(types=("llava_next",), parts=_with_newline(vision(projector=two_linears()))),
    Composite(types=("paligemma",), parts=vision(projector=_paligemma)),
    Composite(types=("deepseek_vl",), parts=vision("vision_model", projector=_deepseek_vl)),
    Composite(types=("deepseek_vl_hybrid",), parts=_deepseek_vl_hybrid),
    Composite(types=("gemma4",), parts=_gemma4),
    Composite(types=("mllama",), parts=_mllama, text_class=True),
    Composite(
        types=("llama4",),
        parts=_llama4,
        text_root="language_model.model",
        head="language_model.lm_head",
        prefix="",
        tie="text",
        text_class=True,
    ),
    Composite(types=("cohere2_vision",), parts=vision(projector=_cohere2_vision)),
    Composite(types=("aya_vision",), parts=vision(projector=_aya_vision)),
    Composite(types=("lfm2_vl",), parts=vision(projector=_lfm2_vl)),
    Composite(types=("voxtral",), parts=_voxtral),
    Composite(types=("qwen2_audio",), parts=_qwen2_audio),
)
