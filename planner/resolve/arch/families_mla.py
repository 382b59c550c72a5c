"""Decoders with multi-head latent attention, with and without a sparse indexer."""

from __future__ import annotations

from planner.resolve.arch.attention import mla
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import (
    Family,
    after_dense,
    by_layer,
    depth,
    layer_types,
    windowed,
)
from planner.resolve.arch.mlp import gated, moe, shared_total, write_gated
from planner.resolve.arch.recurrent import kimi_delta
from planner.resolve.arch.sheet import Plan, Sheet

EXPERTS = moe(shared=shared_total)


def one_dense(config: Config) -> list[str]:
    """One dense layer, then experts, unless the config lists the layers."""
    if config.get("mlp_layer_types") is not None:
        return after_dense()(config)
    return ["dense" if i == 0 else "moe" for i in range(depth(config))]


def indexer(config: Config, plan: Plan, s: Sheet) -> None:
    """The lightning indexer of DeepSeek sparse attention, with a key cache of its own."""
    if plan.tag == "shared":
        return
    x = s.at("indexer")
    h, n, d = config.hidden_size, config.index_n_heads, config.index_head_dim
    x.linear("wq_b", config.q_lora_rank, n * d, split="replicated")
    x.linear("wk", h, d, split="replicated")
    x.norm("k_norm", d, "layer")
    x.linear("weights_proj", h, n, split="replicated")
    s.layer["indexer_elements_per_token"] = d


def indexer_types(config: Config) -> list[str]:
    """Which layers run an indexer (`full`) and which reuse the choice of the one before."""
    listed = config.get("indexer_types")
    if listed is not None:
        return list(listed)
    pattern = config.get("index_topk_pattern")
    if pattern is not None:
        return [{"F": "full", "S": "shared"}.get(letter, letter) for letter in pattern]
    step = max(int(config.get("index_topk_freq", 1)), 1)
    offset = int(config.get("index_skip_topk_offset", 2))
    return [
        "full" if max(i - offset + 1, 0) % step == 0 else "shared" for i in range(depth(config))
    ]


def _glm_dsa_plan(config: Config) -> list[Plan]:
    kinds = after_dense()(config)
    return [
        Plan(mlp=kind, tag=index)
        for kind, index in zip(kinds, indexer_types(config), strict=False)
    ]


def _kimi_types(config: Config) -> list[str]:
    own = config.get("linear_attn_config", {})
    if config.get("layer_types") is None and "full_attn_layers" in own and "kda_layers" in own:
        full = {i - 1 for i in own["full_attn_layers"]}
        return [
            "full_attention" if i in full else "linear_attention" for i in range(depth(config))
        ]
    return layer_types(
        config, lambda i: "full_attention" if i and i % 4 == 0 else "linear_attention"
    )


def _kimi_mlps(config: Config) -> list[str]:
    if config.get("mlp_layer_types") is None and config.get("first_k_dense_replace") is None:
        return one_dense(config)
    return after_dense()(config)


def _longcat_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Two attention and dense parts round one mixture with experts that compute nothing."""
    h = config.hidden_size
    for j in range(2):
        mla(scope=f"self_attn.{j}", qk_head_dim=config.get("qk_head_dim"))(config, plan, sheet)
        write_gated(sheet.at(f"mlps.{j}", "mlp"), h, int(config.ffn_hidden_size))
        sheet.norm(f"input_layernorm.{j}", h)
        sheet.norm(f"post_attention_layernorm.{j}", h)
    e, idle, width = config.n_routed_experts, config.zero_expert_num or 0, config.expert_ffn_hidden_size
    s = sheet.at("mlp", "mlp")
    s.experts("experts.gate_up_proj", e + idle, h, 2 * width)
    s.experts("experts.down_proj", e, width, h)
    s.linear(
        "router.classifier", h, e + idle, role="router", split="replicated",
        bias=bool(config.get("router_bias", False)),
    )
    for key in ("kv_elements_per_token", "kv_expanded_elements_per_token"):
        sheet.layer[key] *= 2
    sheet.layer.update(
        mlp="moe",
        intermediate_size=2 * config.ffn_hidden_size,
        num_experts=e + idle,
        num_experts_per_tok=config.moe_topk,
        moe_intermediate_size=width,
    )


FAMILIES = (
    Family(
        types=("deepseek_v2", "deepseek_v3"),
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
        types=("deepseek_v32",),
        attention=mla(extra=indexer),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm_moe_dsa",),
        attention=mla(extra=indexer),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=_glm_dsa_plan,
    ),
    Family(types=("minicpm3",), attention=mla(), mlp=gated(bias="mlp_bias")),
    Family(types=("youtu",), attention=mla(), mlp=gated(bias="mlp_bias")),
    Family(
        types=("kimi_linear",),
        attention={"full": mla(), "linear": kimi_delta()},
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=windowed(_kimi_mlps, types=_kimi_types, mixers={"linear_attention": "linear"}),
    ),
    Family(
        types=("longcat_flash",),
        attention=_longcat_layer,
        mlp={},
        plan=lambda config: [Plan(mlp="none")] * int(config.num_layers),
        norms=(),
    ),
)
