"""Decoders whose config gives every layer its own sizes: Nemotron-NAS, OpenELM."""

from __future__ import annotations

from typing import Any

from planner.resolve.arch.attention import gqa, heads, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import depth
from planner.resolve.arch.mlp import write_gated
from planner.resolve.arch.sheet import Plan, Sheet


def _multiple(value: int, divisor: int) -> int:
    """The next multiple of a divisor."""
    return -(-value // divisor) * divisor


def _nas_plan(config: Config) -> list[Plan]:
    """Each layer as the search left it: attention or MLP may be gone, or one matrix."""
    blocks = config.get("block_configs")
    if not isinstance(blocks, list) or len(blocks) < depth(config):
        raise config.problem("block_configs must describe every layer")
    plans = []
    for block in blocks[: depth(config)]:
        own, ffn = block["attention"], block["ffn"]
        group = 0 if own.get("no_op") else -1 if own.get("replace_with_linear") else 1
        width: Any = 0
        if not ffn.get("no_op"):
            width = -1 if ffn.get("replace_with_linear") else ffn.get("intermediate_size")
            if width is None:
                # Two thirds of the multiplied hidden size, up to the next multiple of 256.
                width = _multiple(int(2 * ffn["ffn_mult"] * config.hidden_size / 3), 256)
        if group == 1:
            group = int(own["n_heads_in_group"])
        span = own.get("window_length") if group > 0 else None
        mixer = "none" if group < 1 else "sliding" if span else "full"
        plans.append(Plan(mixer, span, "none", (group, int(width))))
    return plans


def _nas_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    group, width = plan.tag
    h = config.hidden_size
    if group > 0:
        gqa(kv=lambda c: heads(c) // group, bias="attention_bias")(config, plan, sheet)
    elif group:
        sheet.linear("self_attn.linear_attn", h, h, role="attention")
    if width < 0:
        sheet.linear("mlp.linear_mlp", h, h, role="mlp")
    if width > 0:
        write_gated(sheet.at("mlp", "mlp"), h, width)
        sheet.layer.update(mlp="gated", intermediate_size=width)


def _nas_norms(config: Config, plan: Plan) -> tuple[str, ...]:
    group, width = plan.tag
    names = ("input_layernorm", "post_attention_layernorm")
    return tuple(name for name, there in zip(names, (group, width), strict=True) if there)


def _elm_width(multiplier: float, config: Config) -> int:
    divisor = int(config.ffn_dim_divisor)
    value = multiplier * config.model_dim
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _elm_plan(config: Config) -> list[Plan]:
    lists = (config.num_query_heads, config.num_kv_heads, config.ffn_multipliers)
    if any(not isinstance(one, list) or len(one) < depth(config) for one in lists):
        raise config.problem("num_query_heads, num_kv_heads and ffn_multipliers must list layers")
    return [Plan(mlp="none", tag=tag) for tag in list(zip(*lists, strict=True))[: depth(config)]]


def _elm_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    q, kv, multiplier = plan.tag
    h, d, width = config.model_dim, config.head_dim, _elm_width(multiplier, config)
    s = sheet.at("attn", "attention")
    s.linear("qkv_proj", h, (q + 2 * kv) * d)
    s.linear("out_proj", q * d, h, split="row")
    normed = bool(config.get("normalize_qk_projections"))
    if normed:
        s.norm("q_norm", d)
        s.norm("k_norm", d)
    note_attention(sheet, plan, q=q, kv=kv, dim=d, fused_qkv=True, qk_norm=normed)
    m = sheet.at("ffn", "mlp")
    m.linear("proj_1", h, 2 * width)
    m.linear("proj_2", width, h, split="row")
    sheet.layer.update(mlp="gated", fused_gate_up=True, intermediate_size=width)


FAMILIES = (
    Family(
        types=("nemotron-nas",),
        attention=_nas_layer,
        mlp={},
        plan=_nas_plan,
        norms=_nas_norms,
    ),
    Family(
        types=("openelm",),
        attention=_elm_layer,
        mlp={},
        plan=_elm_plan,
        norms=("attn_norm", "ffn_norm"),
        root="transformer",
        embed="token_embeddings",
    ),
)
