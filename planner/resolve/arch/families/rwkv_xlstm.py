"""RWKV and xLSTM: no attention at all, and states of their own."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import depth
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
)
