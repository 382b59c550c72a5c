"""Models whose learned queries read the image: BLIP-2, Kosmos-2, Aria, Granite Vision, Molmo 2."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, around_lm, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.clip import blip2_vision, clip
from planner.resolve.arch.towers.known import write_tower
from planner.resolve.arch.towers.qformer import qformer


def _blip2(config: Config, text: Config, s: Sheet) -> None:
    blip2_vision(config.sub("vision_config"), s.at("vision_model"))
    own, o = config.sub("qformer_config"), s.booked("other")
    o.param("query_tokens", 1, config.num_query_tokens, own.hidden_size)
    qformer(own, o.at("qformer"), config.sub("vision_config").hidden_size)
    o.linear("language_projection", own.hidden_size, text.hidden_size, bias=True)


def _instructblip(config: Config, text: Config, s: Sheet) -> None:
    """BLIP-2 whose querying transformer reads the instruction too."""
    blip2_vision(config.sub("vision_config"), s.at("vision_model"))
    own, o = config.sub("qformer_config"), s.booked("other")
    h, inner, n = own.hidden_size, own.intermediate_size, own.num_hidden_layers
    o.param("query_tokens", 1, config.num_query_tokens, h)
    x = o.at("qformer")
    x.embedding("embeddings.word_embeddings", own.vocab_size, h)
    x.embedding("embeddings.position_embeddings", own.max_position_embeddings, h)
    x.norm("embeddings.layernorm", h, "layer")
    b = x.at("encoder.layer.{j}", copies=n)
    b.linear("intermediate.dense", h, inner, bias=True)
    b.linear("output.dense", inner, h, bias=True)
    b.norm("output.LayerNorm", h, "layer")
    qformer(own, x, config.sub("vision_config").hidden_size, first_norm=False)
    o.linear("language_projection", h, text.hidden_size, bias=True)


def _granite4_vision(config: Config, text: Config, s: Sheet) -> None:
    """Windows of features of several layers, each through a querying transformer."""
    own, v = config.sub("qformer_config"), config.sub("vision_config")
    h, out = v.hidden_size, text.hidden_size
    s.param("image_newline", out)
    write_tower(v, s.at("vision_tower"))
    query, window = (int(side) for side in str(config.downsample_rate).split("/"))
    targets = config.get("spatial_target_layers") or ()
    stacks = [("layerwise_projectors.{j}", len(config.get("deepstack_layer_map") or ()))]
    # Four offsets of a two-by-two grid, whatever the layers that they go to.
    stacks.append(("spatial_projectors.{j}", 4 if targets else 0))
    o = s.booked("other")
    for name, copies in stacks:
        if copies:
            x = o.at(name, copies=copies)
            x.param("query", 1, query**2, h)
            x.param("image_positions", 1, window**2, h)
            qformer(own, x.at("qformer"), h, own=h)
            x.norm("norm", h, "layer")
            x.linear("out_linear", h, out, bias=True)


def _kosmos2(config: Config, text: Config, s: Sheet) -> None:
    own, h = config.sub("vision_config"), text.hidden_size
    clip(own, s.at("vision_model.model"))
    p = s.booked("other").at("image_to_text_projection")
    p.param("latent_query", config.latent_query_num, h)
    p.linear("dense", own.hidden_size, h, bias=True)
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        p.linear(f"x_attn.{name}", h, h, bias=True)


ARIA_PATCH_QUERIES = {1225: 128, 4900: 256}


def _aria(config: Config, text: Config, s: Sheet) -> None:
    v, h = config.sub("vision_config").hidden_size, text.hidden_size
    queries = config.get("projector_patch_to_query_dict", ARIA_PATCH_QUERIES)
    p = s.at("multi_modal_projector")
    p.param("query", max(int(count) for count in queries.values()), v)
    c = p.at("cross_attn")
    for name in ("q_proj", "k_proj", "v_proj"):
        c.linear(name, v, v)
    c.param("multihead_attn.in_proj_weight", 3 * v, v)
    c.param("multihead_attn.in_proj_bias", 3 * v)
    c.linear("multihead_attn.out_proj", v, v, bias=True)
    c.linear("linear", v, v, bias=True)
    c.norm("layer_norm", v, "layer")
    c.norm("layer_norm_kv", v, "layer")
    p.norm("layer_norm", v, "layer")
    p.linear("feed_forward.linear_in", v, h)
    p.linear("feed_forward.linear_out", h, h)


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


COMPOSITES = (
    around_lm(
        types=("blip-2",),
        parts=_blip2,
    ),
    around_lm(
        types=("instructblip", "instructblipvideo"),
        parts=_instructblip,
    ),
    Composite(types=("granite4_vision",), parts=_granite4_vision),
    Composite(
        types=("kosmos-2",),
        parts=_kosmos2,
        text_root="text_model.model",
        head="text_model.lm_head",
        prefix="",
        tie="text",
    ),
    Composite(types=("aria",), parts=vision(projector=_aria)),
    Composite(types=("molmo2",), parts=vision(projector=_molmo2)),
)
