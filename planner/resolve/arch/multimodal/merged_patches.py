"""Models that join neighbouring patches before their projector."""

from __future__ import annotations

from planner.resolve.arch import encoders
from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, around_lm, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import write_block
from planner.resolve.arch.towers.known import write_tower


def _internvl(config: Config, text: Config, s: Sheet) -> None:
    v = config.sub("vision_config").hidden_size
    wide = v * int(1 / config.downsample_ratio) ** 2
    p = s.at("multi_modal_projector")
    p.norm("layer_norm", wide, "layer")
    p.linear("linear_1", wide, text.hidden_size, bias=True)
    p.linear("linear_2", text.hidden_size, text.hidden_size, bias=True)


def _internvl_chat(config: Config, text: Config, s: Sheet) -> None:
    """InternViT as its checkpoints name it, pixel shuffle, and a two-layer projector."""
    own, out = config.sub("vision_config"), text.hidden_size
    h, p = own.hidden_size, own.patch_size
    v = s.at("vision_model")
    v.param("embeddings.class_embedding", 1, 1, h)
    v.conv("embeddings.patch_embedding", h, 3, p, p)
    v.param("embeddings.position_embedding", 1, (own.image_size // p) ** 2 + 1, h)
    b = v.at("encoder.layers.{j}", copies=own.num_hidden_layers)
    write_block(
        b,
        h,
        own.intermediate_size,
        attention="attn",
        names=("qkv", "proj"),
        qkv_bias=bool(own.get("qkv_bias")),
        norms=("norm1", "norm2"),
        norm_kind="rms" if own.get("norm_type") == "rms_norm" else "layer",
    )
    b.param("ls1", h)
    b.param("ls2", h)
    if own.get("qk_normalization"):
        b.norm("attn.q_norm", h, "rms")
        b.norm("attn.k_norm", h, "rms")
    wide = h * int(1 / config.downsample_ratio) ** 2
    m = s.at("mlp1")
    m.norm("0", wide, "layer")
    m.linear("1", wide, out, bias=True)
    m.linear("3", out, out, bias=True)


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


def _mistral3(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    joined = config.get("vision_feature_layer")
    times = len(joined) if isinstance(joined, list) else 1
    p, b = s.at("multi_modal_projector"), bool(config.get("multimodal_projector_bias"))
    p.norm("norm", v, "rms")
    p.linear("patch_merger.merging_layer", v * config.spatial_merge_size**2, v)
    p.linear("linear_1", v * times, h, bias=b)
    p.linear("linear_2", h, h, bias=b)


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


def _ernie(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    write_tower(own, s.at("vision_tower"))
    wide = own.hidden_size * own.spatial_merge_size**2
    # The reference counts the resampler with the text.
    r = s.booked("mlp", whole=False).at("resampler_model")
    for name, n_in in (
        ("spatial_linear", wide),
        ("temporal_linear", wide * own.temporal_merge_size),
    ):
        x = r.at(name)
        x.linear("fc1", n_in, wide, bias=True)
        x.linear("fc2", wide, wide, bias=True)
        x.norm("ln", wide, "layer")
    r.linear("mlp", wide, text.hidden_size, bias=True)
    r.norm("after_norm", text.hidden_size, "rms")


def _minimax_m3(config: Config, text: Config, s: Sheet) -> None:
    own, h = config.sub("vision_config"), text.hidden_size
    inner = int(config.get("projector_hidden_size") or h)
    p = s.at("multi_modal_projector")
    p.linear("linear_1", own.hidden_size, inner, bias=True)
    p.linear("linear_2", inner, h, bias=True)
    p.linear("merge_linear_1", h * own.spatial_merge_size**2, inner, bias=True)
    p.linear("merge_linear_2", inner, h, bias=True)


COMPOSITES = (
    Composite(types=("internvl",), parts=vision(projector=_internvl), encoder=encoders.internvl),
    Composite(types=("qianfan_ocr",), parts=vision(projector=_internvl)),
    around_lm(
        types=("internvl_chat",),
        parts=_internvl_chat,
        text="llm_config",
        encoder=encoders.internvl,
    ),
    around_lm(
        types=("nemotron_h_omni",),
        parts=_nemotron_omni,
    ),
    Composite(types=("cohere2_vision",), parts=vision(projector=_cohere2_vision)),
    Composite(types=("aya_vision",), parts=vision(projector=_aya_vision)),
    Composite(types=("lfm2_vl",), parts=vision(projector=_lfm2_vl)),
    Composite(types=("lfm3_vl",), parts=vision(projector=_lfm3)),
    Composite(
        types=("mistral3", "mistral_large4"),
        parts=vision(projector=_mistral3),
        encoder=encoders.pixtral,
    ),
    Composite(types=("cosmos3_edge",), parts=vision("visual", projector=_cosmos_edge)),
    Composite(types=("ernie4_5_vl_moe",), parts=_ernie, flat=True),
    Composite(types=("minimax_m3_vl",), parts=vision(projector=_minimax_m3), tie="either"),
)
