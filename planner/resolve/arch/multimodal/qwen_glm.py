"""Qwen, GLM and others whose tower ends in its own merger, with no projector behind it."""

from __future__ import annotations

from planner.resolve.arch import encoders
from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, vision
from planner.resolve.arch.multimodal.vector_quantised import codebook
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import write_block
from planner.resolve.arch.towers.known import write_tower

VISUAL = vision("visual")


def _omni_thinker(config: Config, text: Config, s: Sheet) -> None:
    write_tower(config.sub("audio_config"), s.at("audio_tower"))
    write_tower(config.sub("vision_config"), s.at("visual"))


def _glm_image(config: Config, text: Config, s: Sheet) -> None:
    """A tower over image patches and the codes that the text model writes."""
    own = config.sub("vision_config")
    h, p = own.hidden_size, own.patch_size
    v = s.at("visual")
    v.embedding("embeddings.position_embedding", (own.image_size // p) ** 2, h)
    v.conv("patch_embed.proj", h, own.in_channels, p, p)
    write_block(
        v.at("blocks.{j}", copies=own.depth),
        h,
        own.intermediate_size,
        attention="attn",
        names=("qkv", "proj"),
        qkv_bias=bool(own.get("attention_bias")),
        out_bias=bool(own.get("attention_bias")),
        norms=("norm1", "norm2"),
    )
    codebook(config.sub("vq_config"), s.booked("other").at("vqmodel"))


COMPOSITES = (
    Composite(
        types=("qwen2_vl", "qwen2_5_vl"),
        parts=VISUAL,
        flat=True,
        tie="either",
        encoder=encoders.qwen2_vl,
    ),
    Composite(types=("qwen3_vl", "qwen3_vl_moe"), parts=VISUAL, encoder=encoders.qwen3_vl),
    Composite(
        types=(
            "glm46v",
            "glmga",
            "exaone4_5",
            "glm5_next",
            "cohere_compass",
            "cosmos3_omni",
        ),
        parts=VISUAL,
    ),
    Composite(
        types=("qwen3_5", "qwen3_5_moe"),
        parts=VISUAL,
        text_class=True,
        encoder=encoders.qwen3_vl,
    ),
    Composite(types=("qwen4_exp",), parts=VISUAL, text_class=True),
    Composite(types=("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker"), parts=_omni_thinker),
    Composite(
        types=("qwen2_5_omni", "qwen3_omni_moe"),
        parts=_omni_thinker,
        inside="thinker_config",
        text_root="thinker.model.language_model",
        prefix="thinker.model.",
        head="thinker.lm_head",
    ),
    Composite(types=("glm4v", "glm4v_moe"), parts=VISUAL, tie="either", encoder=encoders.glm4v),
    Composite(types=("glm_ocr",), parts=VISUAL, tie="either"),
    Composite(types=("glm_image",), parts=_glm_image, tie="text"),
)
