"""Decoders with multi-head latent attention: DeepSeek-V2 and V3, and their kin."""

from __future__ import annotations

from planner.resolve.arch.attention import mla
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import after_dense, by_layer, one_dense, spaced_mlps
from planner.resolve.arch.mlp import EXPERTS, gated, moe, shared_total, write_gated
from planner.resolve.arch.sheet import Plan, Sheet


def _longcat_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Two attention and dense parts round one mixture with experts that compute nothing."""
    h = config.hidden_size
    for j in range(2):
        mla(scope=f"self_attn.{j}", qk_head_dim=config.get("qk_head_dim"))(config, plan, sheet)
        write_gated(sheet.at(f"mlps.{j}", "mlp"), h, int(config.ffn_hidden_size))
        sheet.norm(f"input_layernorm.{j}", h)
        sheet.norm(f"post_attention_layernorm.{j}", h)
    e, idle, width = (
        config.n_routed_experts,
        config.zero_expert_num or 0,
        config.expert_ffn_hidden_size,
    )
    s = sheet.at("mlp", "mlp")
    s.experts("experts.gate_up_proj", e + idle, h, 2 * width)
    s.experts("experts.down_proj", e, width, h)
    s.linear(
        "router.classifier",
        h,
        e + idle,
        role="router",
        split="replicated",
        bias=bool(config.get("router_bias", False)),
    )
    for key in ("kv_elements_per_token", "kv_expanded_elements_per_token"):
        sheet.layer[key] *= 2
    sheet.layer.update(
        mlp="moe",
        intermediate_size=2 * config.ffn_hidden_size,
        num_experts=e,
        num_experts_per_tok=config.moe_topk,
        moe_intermediate_size=width,
    )


FAMILIES = (
    Family(
        types=("deepseek_v2",),
        attention=mla(),
        mlp={
            "dense": gated(bias="mlp_bias"),
            "moe": moe(shared=shared_total, shared_bias="mlp_bias"),
        },
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("deepseek_v3", "mistral4"),
        attention=mla(),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm4_moe_lite",),
        attention=mla(),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(one_dense),
    ),
    Family(
        types=("axk1",),
        attention=mla(),
        mlp={
            "dense": gated(),
            "moe": moe(
                shared=shared_total,
                extra=lambda config, _, s: s.norm("post_mlp_layernorm", config.hidden_size),
            ),
        },
        plan=by_layer(spaced_mlps),
    ),
    Family(types=("minicpm3", "youtu"), attention=mla(), mlp=gated(bias="mlp_bias")),
    Family(
        types=("longcat_flash",),
        attention=_longcat_layer,
        mlp={},
        plan=lambda config: [Plan(mlp="none")] * int(config.num_layers),
        norms=(),
    ),
)
