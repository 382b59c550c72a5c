"""Muse Spark: experts in a narrower space, and gates on the residual stream."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa, output_gate
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import depth, fourth_from_last_full, windowed
from planner.resolve.arch.mlp import gated, write_experts
from planner.resolve.arch.sheet import Plan, Sheet


def _mlps(config: Config) -> list[str]:
    listed = config.get("mlp_layer_types") or ["sparse"] * depth(config)
    return ["moe" if kind == "sparse" else "dense" for kind in listed[: depth(config)]]


def _moe(config: Config, _: Plan, sheet: Sheet) -> None:
    """The router reads the full width, the experts a projection of it."""
    h, narrow, width = config.hidden_size, config.moe_hidden_size, config.moe_intermediate_size
    s, e = sheet.at("mlp", "mlp"), int(config.num_local_experts)
    s.param("gate.weight", e, h, role="router")
    s.linear("pre_expert_proj", h, narrow)
    s.norm("pre_expert_norm", narrow)
    x = s.at("experts")
    write_experts(x, e, narrow, width)
    x.norm("post_expert_norm", narrow, role="routed_experts")
    s.linear("post_expert_proj", narrow, h, split="row")
    sheet.layer.update(
        mlp="moe",
        num_experts=e,
        num_experts_per_tok=int(config.num_experts_per_tok),
        moe_intermediate_size=width,
        fused_gate_up=True,
    )


def _residual_gates(config: Config, _: Plan, sheet: Sheet) -> None:
    for name in ("post_attention_residual_gate", "post_feedforward_residual_gate"):
        sheet.param(f"{name}.gate", config.hidden_size, role="router")


FAMILIES = (
    Family(
        types=("muse_spark_text",),
        attention=gqa(bias="attention_bias", extra=output_gate),
        mlp={"dense": gated(), "moe": _moe},
        plan=windowed(_mlps, types=fourth_from_last_full),
        norms=("input_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
        around=_residual_gates,
    ),
)
