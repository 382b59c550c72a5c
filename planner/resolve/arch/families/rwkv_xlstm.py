"""Families that share no block with others: RWKV, xLSTM, ZAYA, and some of the oldest."""

from __future__ import annotations

from planner.resolve.arch.attention import (
    even_head_dim,
    gqa,
    head_dim,
    heads,
    kv_heads,
    note_attention,
)
from planner.resolve.arch.config import Config
from planner.resolve.arch.families.moe_dense_first import spaced_mlps
from planner.resolve.arch.family import Family, by_layer, depth
from planner.resolve.arch.mlp import gated, moe, plain, shared_total, write_experts
from planner.resolve.arch.sheet import Plan, Sheet


def _rwkv_plan(config: Config) -> list[Plan]:
    return [Plan("linear", None, "none", i == 0) for i in range(depth(config))]


def _rwkv_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Time mixing and channel mixing of RWKV-4 (arXiv 2305.13048)."""
    h = config.hidden_size
    a = int(config.get("attention_hidden_size") or h)
    inner = int(config.get("intermediate_size") or 4 * h)
    if plan.tag:
        sheet.norm("pre_ln", h)
    sheet.norm("ln1", h)
    sheet.norm("ln2", h)
    s = sheet.at("attention", "attention")
    for name in ("time_decay", "time_first"):
        s.param(name, a, split="column")
    for name in ("time_mix_key", "time_mix_value", "time_mix_receptance"):
        s.param(name, 1, 1, h)
    for name in ("key", "value", "receptance"):
        s.linear(name, h, a)
    s.linear("output", a, h, split="row")
    f = sheet.at("feed_forward", "mlp")
    f.param("time_mix_key", 1, 1, h)
    f.param("time_mix_receptance", 1, 1, h)
    f.linear("key", h, inner)
    f.linear("receptance", h, h)
    f.linear("value", inner, h, split="row")
    # Five vectors a layer: the last inputs of both mixers, and numerator, denominator, exponent.
    sheet.layer.update(
        mixer="linear", mlp="plain", intermediate_size=inner, ssm_state_elements=2 * h + 3 * a
    )


def _round_up(value: float, step: int) -> int:
    return int(-(-int(value) // step) * step)


def _xlstm_layer(config: Config, _: Plan, sheet: Sheet) -> None:
    """The matrix LSTM (arXiv 2405.04517) and its gated MLP."""
    h, q, b = config.hidden_size, config.num_heads, bool(config.get("use_bias"))
    step = 64
    qk = _round_up(h * config.qk_dim_factor, step)
    v = _round_up(h * config.v_dim_factor, step)
    inner = _round_up(h * config.ffn_proj_factor, config.ffn_round_up_to_multiple_of)
    kind = "layer" if b else "layer_nobias"
    s = sheet.at("mlstm_layer", "mixer")
    for name, width in (("q", qk), ("k", qk), ("v", v), ("ogate_preact", v)):
        s.linear(name, h, width, bias=b)
    for name in ("igate_preact", "fgate_preact"):
        s.linear(name, h, q, bias=True)
    s.norm("multihead_norm", v, kind)
    s.linear("out_proj", v, h, bias=b, split="row")
    f = sheet.at("ffn", "mlp")
    f.linear("proj_up_gate", h, inner, bias=b)
    f.linear("proj_up", h, inner, bias=b)
    f.linear("proj_down", inner, h, bias=b, split="row")
    sheet.norm("norm_mlstm", h, kind)
    sheet.norm("norm_ffn", h, kind)
    state = q * ((qk // q) * (v // q) + qk // q + 1)
    sheet.layer.update(
        mixer="linear", mlp="gated", intermediate_size=inner, ssm_state_elements=state
    )


def _zaya_plan(config: Config) -> list[Plan]:
    types = config.get("layer_types") or ["hybrid"] * depth(config)
    plans = []
    for i, kind in enumerate(types[: depth(config)]):
        span = config.get("sliding_window") if kind == "hybrid_sliding" else None
        plans.append(Plan("sliding" if span else "full", span, "moe", i == 0))
    return plans


def _zaya_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Compressed convolutional attention: convolved queries and keys, half-delayed values."""
    s = sheet.at("self_attn", "attention")
    h, q, g, d = config.hidden_size, heads(config), kv_heads(config), head_dim(config)
    b = bool(config.get("attention_bias"))
    s.linear("o_proj", q * d, h, bias=b, split="row")
    x, wide = s.at("qkv_proj"), (q + g) * d
    x.linear("q_proj", h, q * d, bias=b)
    x.linear("k_proj", h, g * d, bias=b, split="kv")
    x.linear("v_proj_current", h, g * d // 2, bias=b, split="kv")
    x.linear("v_proj_delayed", h, g * d // 2, bias=b, split="kv")
    x.conv("conv_qk_depthwise", wide, 1, config.cca_time0)
    x.conv("conv_qk_grouped", wide, wide // (q + g), config.cca_time1)
    s.param("qk_norm.temp", g, role="norm")
    note_attention(sheet, plan, q=q, kv=g, dim=d, qk_norm=True, attention_bias=b)


def _zaya_mlp(config: Config, plan: Plan, sheet: Sheet) -> None:
    """A router that is a small MLP, over experts and one class of none."""
    h, r, e = config.hidden_size, config.router_hidden_size, config.num_experts
    g = sheet.at("mlp.gate", "router")
    g.linear("down_proj", h, r, bias=True, split="replicated")
    if not plan.tag:
        g.param("router_states_scale", r)
    m = g.at("router_mlp")
    m.norm("norm", r, role="router")
    m.linear("fc1", r, r, bias=True, split="replicated")
    m.linear("fc2", r, r, bias=True, split="replicated")
    m.linear("out_proj", r, e + 1, split="replicated")
    width = int(config.moe_intermediate_size)
    write_experts(sheet.at("mlp.experts"), e, h, width)
    for name in ("post_attention_residual_scale", "post_mlp_residual_scale"):
        s = sheet.at(name, "attention" if "attention" in name else "mlp")
        for part in ("hidden_states", "residual"):
            s.param(f"{part}_scale", h)
            s.param(f"{part}_bias", h, kind="bias")
    sheet.layer.update(
        mlp="moe",
        num_experts=e,
        num_experts_per_tok=config.num_experts_per_tok,
        moe_intermediate_size=width,
    )


def _zaya_extra(config: Config, _: Plan, s: Sheet) -> None:
    s.param("input_hidden_states_scale", config.hidden_size, role="other")
    s.param("input_hidden_states_bias", config.hidden_size, role="other")


def _japanese_plan(config: Config) -> list[Plan]:
    last = depth(config) - 1
    return [Plan(tag=i == last) for i in range(depth(config))]


def _japanese_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    s = sheet.at("attention", "attention")
    h, q = config.hidden_size, heads(config)
    s.linear("query_key_value", h, 3 * h)
    s.linear("dense", h, h, split="row")
    if plan.tag:
        s.param("dense_bias", h, kind="bias")
    note_attention(sheet, plan, q=q, kv=q, dim=even_head_dim(config), fused_qkv=True)


def _wide_norms(config: Config, _: Plan, s: Sheet) -> None:
    """A layer norm of each head with its own weights."""
    for name, count in (("q_norm", heads(config)), ("k_norm", kv_heads(config))):
        for part in ("weight", "bias"):
            s.param(f"{name}.{part}", count, head_dim(config), kind="norm", role="norm")


FAMILIES = (
    Family(
        types=("rwkv",),
        attention=_rwkv_layer,
        mlp={},
        plan=_rwkv_plan,
        norms=(),
        norm_kind="layer",
        root="rwkv",
        embed="embeddings",
        stack="blocks",
        last_norm="ln_out",
        head="head",
    ),
    Family(
        types=("xlstm",),
        attention=_xlstm_layer,
        mlp={},
        plan=lambda config: [Plan("linear", None, "none")] * depth(config),
        norms=(),
        norm_kind="layer_nobias",
        root="backbone",
        embed="embeddings",
        stack="blocks",
        last_norm="out_norm",
    ),
    Family(
        types=("zaya",),
        attention=_zaya_attention,
        mlp=_zaya_mlp,
        plan=_zaya_plan,
        extra=_zaya_extra,
        head_bias="lm_head_bias",
    ),
    Family(
        types=("gpt_neox_japanese",),
        attention=_japanese_attention,
        mlp=plain(
            "dense_h_to_4h",
            "dense_4h_to_h",
            inner=lambda config: int(config.intermediate_multiple_size * config.hidden_size),
        ),
        plan=_japanese_plan,
        norm_kind="layer",
        root="gpt_neox_japanese",
        embed="embed_in",
        last_norm="final_layer_norm",
        head="embed_out",
    ),
    Family(
        types=("chameleon_text",),
        attention=gqa(bias="attention_bias", extra=_wide_norms),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(
        types=("unlimited_ocr_text",),
        attention=gqa(bias="attention_bias", dims=even_head_dim),
        mlp={
            "dense": gated(bias="mlp_bias"),
            "moe": moe(shared=shared_total, shared_bias="mlp_bias"),
        },
        plan=by_layer(spaced_mlps),
    ),
    Family(types=("internlm",), attention=gqa(bias="bias"), mlp=gated()),
)
