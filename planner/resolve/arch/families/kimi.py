"""Kimi delta attention beside latent attention: Kimi Linear and K3, Bailing hybrid."""

from __future__ import annotations

from planner.resolve.arch.attention import heads, mla
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import after_dense, depth, every, layer_types, one_dense, windowed
from planner.resolve.arch.mlp import (
    EXPERTS,
    experts_of,
    gated,
    shared_total,
    top_k_of,
    write_experts,
    write_gated,
)
from planner.resolve.arch.recurrent import kimi_delta
from planner.resolve.arch.sheet import Plan, Sheet


def _types(config: Config) -> list[str]:
    own = config.get("linear_attn_config", {})
    if config.get("layer_types") is None and "full_attn_layers" in own and "kda_layers" in own:
        full = {i - 1 for i in own["full_attn_layers"]}
        return ["full_attention" if i in full else "linear_attention" for i in range(depth(config))]
    return layer_types(
        config, lambda i: "full_attention" if i and i % 4 == 0 else "linear_attention"
    )


def _mlps(config: Config) -> list[str]:
    if config.get("mlp_layer_types") is None and config.get("first_k_dense_replace") is None:
        return one_dense(config)
    return after_dense()(config)


def _full_gate(config: Config, _: Plan, s: Sheet) -> None:
    if config.get("mla_use_output_gate"):
        config.assume("the latent attention's output gate is taken as one full matrix")
        s.linear("g_proj", config.hidden_size, heads(config) * int(config.v_head_dim))


def _experts(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Routed experts at the hidden width, or between projections into a narrower one."""
    narrow = int(config.get("routed_expert_hidden_size") or 0)
    if not narrow:
        EXPERTS(config, plan, sheet)
        return
    config.assume(
        "routed experts work in routed_expert_hidden_size between one projection down and one up,"
        " with a norm of that width where latent_moe_use_norm; shared experts at the full width"
    )
    h, e, width = config.hidden_size, experts_of(config), int(config.moe_intermediate_size)
    s = sheet.at("mlp", "mlp")
    s.param("gate.weight", e, h, role="router")
    s.linear("latent_down_proj", h, narrow)
    s.linear("latent_up_proj", narrow, h, split="row")
    if config.get("latent_moe_use_norm"):
        s.norm("latent_norm", narrow)
    write_experts(s.at("experts"), e, narrow, width)
    shared = shared_total(config)
    if shared:
        write_gated(s.at("shared_experts", "shared_experts"), h, shared)
    sheet.layer.update(
        mlp="moe",
        num_experts=e,
        num_experts_per_tok=top_k_of(config),
        moe_intermediate_size=width,
        shared_intermediate_size=shared,
        fused_gate_up=True,
    )


def _unread(config: Config, _: Plan, s: Sheet) -> None:
    if config.get("attn_res_block_size"):
        config.assume("weights of the attention over earlier blocks' residuals are not counted")


def _head_gate(config: Config, _: Plan, s: Sheet) -> None:
    s.linear("g_proj", config.hidden_size, heads(config))


def _bailing_types(config: Config) -> list[str]:
    return layer_types(config, every(int(config.layer_group_size), "linear_attention"))


FAMILIES = (
    Family(
        types=("kimi_linear",),
        attention={"full": mla(extra=_full_gate), "linear": kimi_delta()},
        mlp={"dense": gated(), "moe": _experts},
        plan=windowed(_mlps, types=_types, mixers={"linear_attention": "linear"}),
        extra=_unread,
    ),
    Family(
        types=("bailing_hybrid",),
        attention={
            "full": mla(extra=_head_gate),
            "linear": kimi_delta(narrow=False),
        },
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=windowed(after_dense(), types=_bailing_types, mixers={"linear_attention": "linear"}),
    ),
)
