"""Models of several modalities of the last year."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, vision
from planner.resolve.arch.multimodal.composite import gemma3_projector as gemma3
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import write_tower


def _glimmer(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_tower"))
    o, inner = s.booked("other"), int(config.projector_hidden_size)
    s.linear("vision_adapter.fc1", config.out_hidden_size, inner)
    s.linear("vision_adapter.fc2", inner, inner)
    o.linear("vision_projection", inner, text.hidden_size)


def _nemotron_omni(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_model"))
    wide = config.vision_hidden_size * int(1 / config.downsample_ratio) ** 2
    p = s.at("multi_modal_projector")
    p.norm("layer_norm", wide, "rms")
    p.linear("linear_1", wide, config.projector_hidden_size)
    p.linear("linear_2", config.projector_hidden_size, text.hidden_size)
    if config.has_sub("audio_config"):
        raise config.problem("the audio tower of nemotron_h_omni is not covered; use --derive")


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


def _lfm3(config: Config, text: Config, s: Sheet) -> None:
    v, b = config.sub("vision_config"), bool(config.get("projector_bias"))
    p = s.at("multi_modal_projector")
    p.norm("layer_norm", v.hidden_size, "layer")
    p.linear(
        "linear_1",
        v.hidden_size * v.spatial_merge_size**2,
        config.projector_hidden_size,
        bias=b,
    )
    p.linear("linear_2", config.projector_hidden_size, text.hidden_size, bias=b)


def _qwen3_asr(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    s.linear("multi_modal_projector.linear_1", own.d_model, own.d_model, bias=True)
    s.linear("multi_modal_projector.linear_2", own.d_model, own.output_dim, bias=True)


def _voxtral_realtime(config: Config, text: Config, s: Sheet) -> None:
    own, h = config.sub("audio_config"), text.hidden_size
    write_tower(own, s.at("audio_tower"))
    s.linear("multi_modal_projector.linear_1", own.hidden_size * config.downsample_factor, h)
    s.linear("multi_modal_projector.linear_2", h, h)


def _video_llama3(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    s.linear("projector.readout.0", v, h, bias=True)
    s.linear("projector.readout.2", h, h, bias=True)


def _qianfan(config: Config, text: Config, s: Sheet) -> None:
    wide = config.sub("vision_config").hidden_size * int(1 / config.downsample_ratio) ** 2
    p = s.at("multi_modal_projector")
    p.norm("layer_norm", wide, "layer")
    p.linear("linear_1", wide, text.hidden_size, bias=True)
    p.linear("linear_2", text.hidden_size, text.hidden_size, bias=True)


def _minimax_m3(config: Config, text: Config, s: Sheet) -> None:
    own, h = config.sub("vision_config"), text.hidden_size
    inner = int(config.get("projector_hidden_size") or h)
    p = s.at("multi_modal_projector")
    p.linear("linear_1", own.hidden_size, inner, bias=True)
    p.linear("linear_2", inner, h, bias=True)
    p.linear("merge_linear_1", h * own.spatial_merge_size**2, inner, bias=True)
    p.linear("merge_linear_2", inner, h, bias=True)


def _cosmos_edge(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    v = own.hidden_size
    s.norm("projector.norm", v, "layer")
    s.linear(
        "projector.linear_fc1",
        v * own.spatial_merge_size**2,
        config.projector_hidden_size,
        bias=True,
    )
    s.linear("projector.linear_fc2", config.projector_hidden_size, text.hidden_size, bias=True)


def _clova(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    s.linear("projector", own.out_hidden_size, text.hidden_size, bias=True)


def _molmo2(config: Config, text: Config, s: Sheet) -> None:
    a = config.sub("adapter_config")
    h, d = a.hidden_size, a.head_dim
    q, kv = a.num_attention_heads * d, a.num_key_value_heads * d
    n_in = h * len(a.get("vision_feature_layer") or [24, 18])
    bias = bool(a.get("attention_bias"))
    p = s.at("multi_modal_projector.image_pooling_2d")
    p.linear("q_proj", n_in, q, bias=bias)
    p.linear("k_proj", n_in, kv, bias=bias)
    p.linear("v_proj", n_in, kv, bias=bias)
    p.linear("o_proj", q, h, bias=bias)
    m, b = s.at("multi_modal_projector.image_projector"), bool(a.get("mlp_bias"))
    m.linear("gate_proj", h, a.intermediate_size, bias=b)
    m.linear("up_proj", h, a.intermediate_size, bias=b)
    m.linear("down_proj", a.intermediate_size, a.text_hidden_size)


NEW_COMPOSITES = (
    Composite(types=("muse_glimmer",), parts=_glimmer, tie="text"),
    Composite(
        types=("nemotron_h_omni",),
        parts=_nemotron_omni,
        text_root="language_model.model",
        head="language_model.lm_head",
        prefix="",
        tie="text",
    ),
    Composite(types=("gemma4_unified",), parts=_gemma4_unified),
    Composite(types=("lfm3_vl",), parts=vision(projector=_lfm3)),
    Composite(types=("qwen3_asr",), parts=_qwen3_asr),
    Composite(types=("voxtral_realtime",), parts=_voxtral_realtime),
    Composite(types=("shieldgemma2",), parts=vision(projector=gemma3), tie="either"),
    Composite(
        types=("video_llama_3",),
        parts=vision("vision_model", projector=_video_llama3),
        tie="either",
    ),
    Composite(types=("qianfan_ocr",), parts=vision(projector=_qianfan)),
    Composite(types=("minimax_m3_vl",), parts=vision(projector=_minimax_m3), tie="either"),
    Composite(types=("cosmos3_edge",), parts=vision("visual", projector=_cosmos_edge)),
    Composite(types=("cosmos3_omni",), parts=vision("visual")),
    Composite(types=("hyperclovax_vision_v2",), parts=vision("vision_model", projector=_clova)),
    Composite(
        types=("granite_docling",), parts=vision("vision_model"), text_root="model.text_model"
    ),
    Composite(types=("molmo2",), parts=vision(projector=_molmo2)),
)
