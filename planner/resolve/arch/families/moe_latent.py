"""Muse Spark: experts in a narrower space, and gates on the residual stream."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa, heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family, depth, layer_types, windowed
from planner.resolve.arch.mlp import gated, write_experts
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Plan, Sheet
from planner.resolve.arch.towers.block import write_tower


def _types(config: Config) -> list[str]:
    """Every fourth layer from the end attends to all."""
    last = depth(config) - 1
    return layer_types(
        config, lambda i: "sliding_attention" if (last - i) % 4 else "full_attention"
    )


def _mlps(config: Config) -> list[str]:
    listed = config.get("mlp_layer_types") or ["sparse"] * depth(config)
    return ["moe" if kind == "sparse" else "dense" for kind in listed[: depth(config)]]


def _gate(config: Config, _: Plan, s: Sheet) -> None:
    s.linear("gate_proj", config.hidden_size, heads(config) * config.head_dim)


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


def _audio(config: Config, s: Sheet) -> None:
    """Stages of patches and depthwise convolutions, each wider than the last."""
    n_in = 1
    for patch, h, deep in zip(config.patch_sizes, config.hidden_sizes, config.depths, strict=True):
        stage = s.at("layers.{j}")
        stage.linear("patch_embedder.proj", n_in * patch, h, bias=True)
        stage.norm("patch_embedder.norm", h, "rms")
        b, inner = stage.at("conv_blocks.{j}", copies=deep), int(h * config.mlp_ratio)
        b.conv("conv", h, 1, config.conv_kernel_size)
        b.norm("norm", h, "rms")
        b.linear("mlp.fc1", h, inner, bias=True)
        b.linear("mlp.fc2", inner, h, bias=True)
        n_in = h
    s.norm("norm", n_in, "rms")
    s.linear("proj", n_in, config.out_hidden_size, bias=True)
    s.norm("post_proj_norm", config.out_hidden_size, "rms")


def _parts(config: Config, text: Config, s: Sheet) -> None:
    write_tower(config.sub("vision_config"), s.at("vision_tower"))
    _audio(config.sub("audio_config"), s.at("audio_tower"))
    inner = int(config.projector_hidden_size)
    s.linear("vision_adapter.fc1", config.out_hidden_size, inner)
    s.linear("vision_adapter.fc2", inner, inner)
    s.booked("other").linear("vision_projection", inner, text.hidden_size)


FAMILIES = (
    Family(
        types=("muse_spark_text",),
        attention=gqa(bias="attention_bias", extra=_gate),
        mlp={"dense": gated(), "moe": _moe},
        plan=windowed(_mlps, types=_types),
        norms=("input_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
        around=_residual_gates,
    ),
)
SPARK_COMPOSITES = (Composite(types=("muse_spark",), parts=_parts, tie="text"),)
