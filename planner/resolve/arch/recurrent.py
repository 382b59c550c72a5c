"""Recurrent mixers: Mamba-1 and -2, gated delta rule, short convolutions, linear attention."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from planner.resolve.arch.config import Config
from planner.resolve.arch.mlp import Size, size
from planner.resolve.arch.sheet import Block, Flag, Plan, Sheet, flag


def dt_rank(config: Config, name: str) -> int:
    """Rank of the time step; a sixteenth of the hidden size where the config says `auto`."""
    given = config.get(name, "auto")
    return ceil(config.hidden_size / 16) if given == "auto" else int(given)


def mamba1(
    *,
    scope: str = "mixer",
    inner: Size = "intermediate_size",
    state: str = "state_size",
    kernel: str = "conv_kernel",
    rank: str = "time_step_rank",
    bias: Flag = "use_bias",
    conv_bias: Flag = "use_conv_bias",
    inner_norms: bool = False,
) -> Block:
    """The selective state space mixer of Mamba (arXiv 2312.00752)."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mixer")
        h, width, n = config.hidden_size, size(config, inner), size(config, state)
        r, k, b = dt_rank(config, rank), size(config, kernel), flag(config, bias)
        s.param("A_log", width, n, split="column")
        s.param("D", width, split="column")
        s.conv("conv1d", width, 1, k, bias=flag(config, conv_bias), split="column")
        s.linear("in_proj", h, 2 * width, bias=b)
        s.linear("x_proj", width, r + 2 * n, split="row")
        s.linear("dt_proj", r, width, bias=True)
        s.linear("out_proj", width, h, bias=b, split="row")
        if inner_norms:
            s.norm("dt_layernorm", r)
            s.norm("b_layernorm", n)
            s.norm("c_layernorm", n)
        sheet.layer.update(
            mixer="mamba1", conv_state_elements=width * k, ssm_state_elements=width * n
        )

    return block


def mamba2(
    *,
    scope: str = "mixer",
    inner: Callable[[Config], int],
    num_heads: Size = "num_heads",
    groups: Size = "n_groups",
    state: Size = "state_size",
    kernel: Size = "conv_kernel",
    bias: Flag = "use_bias",
    out_bias: Flag | None = None,
    conv_bias: Flag = "use_conv_bias",
    norm_if: Flag = True,
    beside: bool = False,
) -> Block:
    """The state space duality mixer of Mamba-2 (arXiv 2405.21060).

    `beside` where it stands next to attention in one layer: the layer keeps its attention kind.
    """

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mixer")
        h, width, q = config.hidden_size, inner(config), size(config, num_heads)
        g, n, k = size(config, groups), size(config, state), size(config, kernel)
        b, conv = flag(config, bias), width + 2 * g * n
        s.param("dt_bias", q, split="column")
        s.param("A_log", q, split="column")
        s.param("D", q, split="column")
        s.conv("conv1d", conv, 1, k, bias=flag(config, conv_bias), split="column")
        s.linear("in_proj", h, width + conv + q, bias=b)
        if flag(config, norm_if):
            s.norm("norm", width)
        out = b if out_bias is None else flag(config, out_bias)
        s.linear("out_proj", width, h, bias=out, split="row")
        sheet.layer.update(conv_state_elements=conv * k, ssm_state_elements=width * n)
        if not beside:
            sheet.layer["mixer"] = "mamba2"

    return block


def gated_delta(*, scope: str = "linear_attn", joined: bool = True) -> Block:
    """The gated delta rule (arXiv 2412.06464); `joined` where q, k, v, z are one projection."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mixer")
        h, heads = config.hidden_size, config.linear_num_value_heads
        k_dim, v_dim = config.linear_key_head_dim, config.linear_value_head_dim
        keys, values = k_dim * config.linear_num_key_heads, v_dim * heads
        k, conv = config.linear_conv_kernel_dim, 2 * keys + values
        s.param("dt_bias", heads, split="column")
        s.param("A_log", heads, split="column")
        s.conv("conv1d", conv, 1, k, bias=False, split="column")
        s.norm("norm", v_dim)
        s.linear("out_proj", values, h, split="row")
        if joined:
            s.linear("in_proj_qkvz", h, conv + values)
            s.linear("in_proj_ba", h, 2 * heads)
        else:
            s.linear("in_proj_qkv", h, conv)
            s.linear("in_proj_z", h, values)
            s.linear("in_proj_b", h, heads)
            s.linear("in_proj_a", h, heads)
        sheet.layer.update(
            mixer="gated_delta",
            conv_state_elements=conv * k,
            ssm_state_elements=heads * k_dim * v_dim,
        )

    return block


def short_conv(*, scope: str = "conv") -> Block:
    """The gated short convolution of LFM2."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mixer")
        h, k, b = config.hidden_size, config.conv_L_cache, flag(config, "conv_bias")
        s.conv("conv", h, 1, k, bias=b, split="column")
        s.linear("in_proj", h, 3 * h, bias=b)
        s.linear("out_proj", h, h, bias=b, split="row")
        sheet.layer.update(mixer="conv", conv_state_elements=h * k)

    return block


def lightning(*, scope: str = "self_attn") -> Block:
    """The lightning attention of MiniMax-01 (arXiv 2501.08313): a running state per head."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "attention")
        h, q = config.hidden_size, config.num_attention_heads
        d = int(config.get("head_dim") or h // q)
        s.norm("norm", q * d)
        s.linear("qkv_proj", h, 3 * q * d)
        s.linear("out_proj", q * d, h, split="row")
        s.linear("output_gate", h, q * d)
        sheet.layer.update(mixer="linear", ssm_state_elements=q * d * d)

    return block


def rglru(*, scope: str = "temporal_block") -> Block:
    """The real-gated linear recurrent unit of Griffin (arXiv 2402.19427)."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mixer")
        h, q = config.hidden_size, config.num_attention_heads
        width, k = int(config.get("lru_width") or h), config.conv1d_width
        s.linear("linear_y", h, width, bias=True)
        s.linear("linear_x", h, width, bias=True)
        s.linear("linear_out", width, h, bias=True, split="row")
        s.conv("conv_1d", width, 1, k, split="column")
        r, part = s.at("rg_lru"), width // q
        r.param("recurrent_param", width, split="column")
        for gate in ("input_gate", "recurrent_gate"):
            r.param(f"{gate}_weight", q, part, part, split="column")
            r.param(f"{gate}_bias", q, part, kind="bias", split="column")
        sheet.layer.update(mixer="rglru", conv_state_elements=width * k, ssm_state_elements=width)

    return block


def split_delta(*, scope: str = "linear_attn") -> Block:
    """The gated delta rule with separate projections (OLMo hybrid)."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mixer")
        h, q = config.hidden_size, config.num_attention_heads
        key_heads = int(config.get("linear_num_key_heads") or q)
        heads = int(config.get("linear_num_value_heads") or q)
        k_dim = int(config.get("linear_key_head_dim") or int(0.75 * h / key_heads))
        v_dim = int(config.get("linear_value_head_dim") or 2 * k_dim)
        keys, values, k = key_heads * k_dim, heads * v_dim, config.linear_conv_kernel_dim
        s.param("A_log", heads, split="column")
        s.param("dt_bias", heads, split="column")
        for name, width in (("q_proj", keys), ("k_proj", keys), ("v_proj", values)):
            s.linear(name, h, width)
        for name in ("a_proj", "b_proj"):
            s.linear(name, h, heads)
        s.linear("g_proj", h, values)
        s.conv("conv1d", 2 * keys + values, 1, k, bias=False, split="column")
        s.norm("o_norm", v_dim)
        s.linear("o_proj", values, h, split="row")
        sheet.layer.update(
            mixer="gated_delta",
            conv_state_elements=(2 * keys + values) * k,
            ssm_state_elements=heads * k_dim * v_dim,
        )

    return block


def kimi_delta(*, scope: str = "self_attn", narrow: bool = True, flat: bool = False) -> Block:
    """Kimi delta attention (arXiv 2510.26692): a delta rule with a gate per channel.

    `narrow` where the gates go through a bottleneck of one head's width; `flat` where the decay
    is a plain vector.
    """

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "attention")
        own = config.get("linear_attn_config", {})
        h = config.hidden_size
        if narrow:
            d = int(own.get("head_dim", config.linear_head_dim))
            q = int(own.get("num_heads", config.linear_num_heads))
            k = int(own.get("short_conv_kernel_size", config.linear_conv_kernel_dim))
        else:
            d, q = int(config.head_dim), int(config.num_attention_heads)
            k = int(config.short_conv_kernel_size)
        for name in ("q_proj", "k_proj", "v_proj"):
            s.linear(name, h, q * d)
        mixed = s.at("", "mixer")
        mixed.conv("conv1d", 3 * q * d, 1, k, bias=False, split="column")
        f = mixed.at("forget_gate")
        f.param("dt_bias", q * d, split="column")
        f.param("A_log", *((1, 1, q, 1) if narrow and not flat else (q,)), split="column")
        s.linear("b_proj", h, q)
        if narrow:
            f.linear("f_a_proj", h, d, split="replicated", role="attention")
            f.linear("f_b_proj", d, q * d, role="attention")
            if own.get("use_full_rank_gate"):
                s.linear("g_proj", h, q * d)
            else:
                s.linear("g_a_proj", h, d, split="replicated")
                s.linear("g_b_proj", d, q * d)
        else:
            f.linear("f_proj", h, q * d, role="attention")
            s.linear("g_proj", h, q * d)
        s.norm("o_norm", d)
        s.linear("o_proj", q * d, h, split="row")
        sheet.layer.update(
            mixer="gated_delta", conv_state_elements=3 * q * d * k, ssm_state_elements=q * d * d
        )

    return block
