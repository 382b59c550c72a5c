"""Gemma 3 to 4, ShieldGemma and PaliGemma."""

from __future__ import annotations

from planner.resolve.arch import encoders
from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.conformer import gemma3n_audio
from planner.resolve.arch.towers.known import write_tower


def gemma3_projector(config: Config, text: Config, s: Sheet) -> None:
    """Gemma 3's norm and matrix between the tower and the text."""
    v = config.sub("vision_config").hidden_size
    s.param("multi_modal_projector.mm_input_projection_weight", v, text.hidden_size)
    s.norm("multi_modal_projector.mm_soft_emb_norm", v, "rms")


def _paligemma(config: Config, text: Config, s: Sheet) -> None:
    v = config.sub("vision_config").hidden_size
    s.linear("multi_modal_projector.linear", v, config.projection_dim, bias=True)


# Parameters of timm's encoder without its classifier, counted from timm 1.0.31's class.
TIMM_ENCODERS = {"mobilenetv5_300m_enc": 294_126_912}


def _gemma3n(config: Config, text: Config, s: Sheet) -> None:
    h = text.hidden_size
    own = config.sub("vision_config")
    count = TIMM_ENCODERS.get(str(own.get("architecture", "")))
    if count is None:
        raise own.problem(
            f"timm's encoder '{own.get('architecture')}' is not covered; use --derive"
        )
    s.param("vision_tower.timm_model.parameters", count)
    config.assume(f"the vision tower is counted as a whole: {count:,} parameters in timm's class")
    gemma3n_audio(config.sub("audio_config"), s.at("audio_tower"))
    for name in ("vision", "audio"):
        part = config.sub(f"{name}_config")
        e = s.at(f"embed_{name}")
        e.embedding("embedding", part.vocab_size, part.hidden_size)
        e.norm("hard_embedding_norm", part.hidden_size, "rms")
        e.norm("soft_embedding_norm", part.hidden_size, "rms")
        e.linear("embedding_projection", part.hidden_size, h)


def _gemma4(config: Config, text: Config, s: Sheet) -> None:
    for kind in ("vision", "audio"):
        if config.has_sub(f"{kind}_config"):
            own = config.sub(f"{kind}_config")
            write_tower(own, s.at(f"{kind}_tower"))
            width = own.hidden_size if kind == "vision" else own.output_proj_dims
            s.linear(f"embed_{kind}.embedding_projection", width, text.hidden_size)


def _gemma4_unified(config: Config, text: Config, s: Sheet) -> None:
    """Raw patches and audio features go straight into the text model."""
    h = text.hidden_size
    if config.has_sub("vision_config"):
        own = config.sub("vision_config")
        e, wide = own.mm_embed_dim, 3 * (own.patch_size * own.pooling_kernel_size) ** 2
        v = s.at("embed_vision")
        v.param("pos_embedding", own.mm_posemb_size, 2, e)
        v.norm("patch_ln1", wide, "layer")
        v.linear("patch_dense", wide, e, bias=True)
        v.norm("patch_ln2", e, "layer")
        v.norm("pos_norm", e, "layer")
        v.linear("multimodal_embedder.embedding_projection", own.output_proj_dims, h)
    if config.has_sub("audio_config"):
        own = config.sub("audio_config")
        s.linear("embed_audio.embedding_projection", own.audio_embed_dim, h)


COMPOSITES = (
    Composite(
        types=("gemma3",),
        parts=vision(projector=gemma3_projector),
        encoder=encoders.gemma3,
    ),
    Composite(types=("shieldgemma2",), parts=vision(projector=gemma3_projector), tie="either"),
    Composite(types=("paligemma",), parts=vision(projector=_paligemma)),
    Composite(types=("gemma3n",), parts=_gemma3n),
    Composite(types=("gemma4",), parts=_gemma4, encoder=encoders.gemma4),
    Composite(types=("gemma4_unified",), parts=_gemma4_unified),
)
