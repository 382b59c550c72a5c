"""Zamba: Mamba layers, some of which call one attention block that all of them share."""

from __future__ import annotations

from planner.resolve.arch.attention import kv_heads, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import LEGACY_LAYER_TYPES, depth
from planner.resolve.arch.mlp import write_gated
from planner.resolve.arch.recurrent import dt_rank, mamba2
from planner.resolve.arch.sheet import Plan, Sheet

ZAMBA2_DEFAULT = (
    ["linear_attention"]
    + (["linear_attention"] * 5 + ["hybrid"]) * 7
    + ["linear_attention"] * 4
    + ["hybrid"]
    + ["linear_attention"] * 3
    + ["hybrid"]
    + ["linear_attention"] * 2
)


def _plans(config: Config, listed: list[str], blocks: int) -> list[Plan]:
    """Hybrid layers carry the shared block they call and whether they hold its weights.

    One flag ties all: a config that unties its embeddings unties the blocks too.
    """
    untied = not config.get("tie_word_embeddings", True)
    plans, called = [], 0
    for name in listed:
        if LEGACY_LAYER_TYPES.get(name, name) != "hybrid":
            plans.append(Plan("linear", None, "none"))
            continue
        plans.append(Plan("full", None, "none", (called % blocks, untied or called < blocks)))
        called += 1
    return plans


def _zamba_plan(config: Config) -> list[Plan]:
    listed = config.get("layers_block_type")
    if listed is None:
        period, offset = config.attn_layer_period, config.attn_layer_offset
        listed = ["linear_attention", "linear_attention", "hybrid"] + [
            "hybrid" if i % period == offset else "linear_attention"
            for i in range(depth(config) - 3)
        ]
    return _plans(config, list(listed), 1)


def _zamba2_plan(config: Config) -> list[Plan]:
    listed = config.get("layers_block_type", ZAMBA2_DEFAULT)
    shared = config.get("hybrid_layer_ids")
    if shared is not None and not config.given("layers_block_type"):
        listed = ["hybrid" if i in shared else "linear_attention" for i in range(depth(config))]
    if len(listed) < depth(config):
        raise config.problem(f"the layers' types are {len(listed)}, the layers {depth(config)}")
    if config.given("num_hidden_layers") and config.given("layers_block_type"):
        listed = listed[: depth(config)]
    return _plans(config, list(listed), int(config.num_mem_blocks))


def _zamba_mamba(config: Config, s: Sheet) -> None:
    """Zamba's Mamba-1 with heads."""
    h, q, n = config.hidden_size, config.n_mamba_heads, config.mamba_d_state
    width, r = int(config.mamba_expand * h), dt_rank(config, "mamba_dt_rank")
    part, b = width // q, bool(config.get("mamba_proj_bias"))
    s.param("x_proj_weight", q, r + 2 * n, part, split="column")
    s.param("dt_proj_weight", q, part, r, split="column")
    s.param("dt_proj_bias", q, part, kind="bias", split="column")
    s.param("A_log", q, part, n, split="column")
    s.param("D", q, part, split="column")
    bias = bool(config.get("mamba_conv_bias"))
    s.conv("conv1d", width, 1, config.mamba_d_conv, bias=bias, split="column")
    s.linear("in_proj", h, 2 * width, bias=b)
    s.linear("out_proj", width, h, bias=b, split="row")
    s.layer.update(conv_state_elements=width * config.mamba_d_conv, ssm_state_elements=width * n)


def _shared_attention(
    config: Config, plan: Plan, sheet: Sheet, scope: str, wide: int, dim: int
) -> Sheet:
    """The shared block's attention and norms, on the concatenation of layer and embedding."""
    first = plan.tag[1]
    s = sheet.at(scope) if first else sheet.at(scope).shared()
    h, q, g = config.hidden_size, config.num_attention_heads, kv_heads(config)
    a = s.at("self_attn", "attention")
    a.linear("q_proj", wide, q * dim)
    a.linear("k_proj", wide, g * dim, split="kv")
    a.linear("v_proj", wide, g * dim, split="kv")
    a.linear("o_proj", q * dim, h, split="row")
    s.norm("input_layernorm", wide)
    s.norm("pre_ff_layernorm", h)
    sheet.linear("linear", h, h, role="other", split="replicated")
    note_attention(sheet, plan, q=q, kv=g, dim=dim)
    return s


def _zamba_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    h = config.hidden_size
    own = sheet if plan.mixer == "linear" else sheet.at("mamba_decoder")
    if plan.mixer != "linear":
        wide = int(config.get("attention_hidden_size") or 2 * h)
        dim = int(config.get("attention_head_dim") or 2 * h // config.num_attention_heads)
        s = _shared_attention(config, plan, sheet, "shared_transf", wide, dim)
        write_gated(s.at("feed_forward", "mlp"), h, config.intermediate_size)
        sheet.layer.update(mlp="gated", intermediate_size=config.intermediate_size)
    _zamba_mamba(config, own.at("mamba", "mixer"))
    own.norm("input_layernorm", h)
    if plan.mixer == "linear":
        sheet.layer["mixer"] = "mamba1"


ZAMBA2_MIXER = mamba2(
    scope="mamba",
    inner=lambda config: int(config.mamba_expand * config.hidden_size),
    num_heads="n_mamba_heads",
    groups="mamba_ngroups",
    state="mamba_d_state",
    kernel="mamba_d_conv",
    bias="add_bias_linear",
    conv_bias="use_conv_bias",
    beside=True,
)


def _zamba2_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    h, wide = config.hidden_size, 2 * config.hidden_size
    own = sheet if plan.mixer == "linear" else sheet.at("mamba_decoder")
    if plan.mixer != "linear":
        dim = wide // config.num_attention_heads
        s = _shared_attention(config, plan, sheet, "shared_transformer", wide, dim)
        inner, b = int(config.get("intermediate_size") or 4 * h), bool(config.add_bias_linear)
        m = s.at("feed_forward", "mlp")
        m.linear("gate_up_proj", h, 2 * inner, bias=b)
        m.linear("down_proj", inner, h, bias=b, split="row")
        _adapters(config, plan, s, inner)
        sheet.layer.update(mlp="gated", intermediate_size=inner, fused_gate_up=True)
    ZAMBA2_MIXER(config, plan, own)
    own.norm("input_layernorm", h)
    if plan.mixer == "linear":
        sheet.layer["mixer"] = "mamba2"


def _adapters(config: Config, plan: Plan, s: Sheet, inner: int) -> None:
    """Low-rank corrections of a shared block, one set for each layer that calls it."""
    hybrids = sum(one.mixer == "full" for one in _zamba2_plan(config))
    h, r, wide = config.hidden_size, config.adapter_rank, 2 * config.hidden_size
    for k in range(hybrids):
        if k % config.num_mem_blocks != plan.tag[0]:
            continue
        a = s.at(f"feed_forward.gate_up_proj_adapter_list.{k}", "mlp")
        a.linear("0", h, r, split="replicated")
        a.linear("1", r, 2 * inner, split="replicated")
        if config.get("use_shared_attention_adapter"):
            for name in ("linear_q_adapter_list", "linear_k_adapter_list", "linear_v_adapter_list"):
                b = s.at(f"self_attn.{name}.{k}", "attention")
                b.linear("0", wide, r, split="replicated")
                b.linear("1", r, wide, split="replicated")


FAMILIES = (
    Family(
        types=("zamba",),
        attention=_zamba_layer,
        mlp={},
        plan=_zamba_plan,
        norms=(),
        last_norm="final_layernorm",
    ),
    Family(
        types=("zamba2",),
        attention=_zamba2_layer,
        mlp={},
        plan=_zamba2_plan,
        norms=(),
        last_norm="final_layernorm",
    ),
)
