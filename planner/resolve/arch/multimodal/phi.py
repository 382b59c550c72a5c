"""Phi-3 Vision and Phi-4 multimodal."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.conformer import phi4_audio
from planner.resolve.arch.towers.known import write_tower
from planner.resolve.arch.towers.siglip import siglip

CLIP_LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
}


def _phi3_v(config: Config, text: Config, s: Sheet) -> None:
    """CLIP ViT-L/14 at 336 pixels with all its layers, and the sub-image separators."""
    own = Config({"image_size": 336, **CLIP_LARGE}, "CLIPVisionConfig", parent=config)
    v = s.at("vision_embed_tokens")
    write_tower(own, v.at("img_processor.vision_model"))
    h = text.hidden_size
    v.param("glb_GN", 1, 1, 4 * own.hidden_size)
    v.param("sub_GN", 1, 1, 1, 4 * own.hidden_size)
    v.linear("img_projection.0", 4 * own.hidden_size, h, bias=True)
    v.linear("img_projection.2", h, h, bias=True)
    config.assume("the vision tower is CLIP ViT-L/14 at 336 pixels, as img_processor names it")


def _phi4(config: Config, text: Config, s: Sheet) -> None:
    """Vision and speech below the embedding, each with its projection into the text."""
    h = text.hidden_size
    v, a = config.sub("vision_config"), config.sub("audio_config")
    i = s.at("image_embed")
    i.param("global_img_feature_extensor", 1, 1, v.hidden_size)
    i.param("sub_img_feature_extensor", 1, 1, 1, v.hidden_size)
    siglip(v, i.at("img_processor"))
    i.linear("img_projection_up", v.hidden_size, h, bias=True)
    i.linear("img_projection_down", h, h, bias=True)
    x = s.at("audio_embed")
    phi4_audio(a, x.at("encoder"))
    for name in ("speech", "vision_speech"):
        x.linear(f"up_proj_for_{name}", a.hidden_size * a.downsample_rate, h, bias=True)
        x.linear(f"down_proj_for_{name}", h, h, bias=True)


COMPOSITES = (
    Composite(types=("phi3_v",), parts=_phi3_v, text="", text_root="model"),
    Composite(
        types=("phi4_multimodal",),
        parts=_phi4,
        text="",
        text_root="model",
        prefix="model.embed_tokens_extend.",
    ),
)
