"""Mixtures of experts, and decoders with latent attention."""

from __future__ import annotations

from planner.resolve.arch.attention import fused_qkv, gqa, head_dim, heads, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import (
    PRE_NORM,
    SANDWICH,
    Family,
    after_dense,
    all_moe,
    by_layer,
    depth,
    every,
    layer_types,
    same_window,
    sparse_steps,
    windowed,
)
from planner.resolve.arch.mlp import gated, moe, shared_total
from planner.resolve.arch.sheet import Plan, Sheet


def _qwen2_moe_types(config: Config) -> list[str]:
    first = int(config.get("max_window_layers", 0))
    return layer_types(
        config,
        lambda i: "sliding_attention" if (i + 1) % 2 and i < first else "full_attention",
    )


def granite_shared(config: Config, _: Plan, sheet: Sheet) -> None:
    """Granite's shared MLP beside the experts, with gate and up in one matrix."""
    width = int(config.get("shared_intermediate_size", 0))
    if width:
        s = sheet.at("shared_mlp", "shared_experts")
        s.linear("input_linear", config.hidden_size, 2 * width)
        s.linear("output_linear", width, config.hidden_size, split="row")
        sheet.layer["shared_intermediate_size"] = width


def _output_gate(config: Config, _: Plan, s: Sheet) -> None:
    s.linear("gate_proj", config.hidden_size, heads(config) * head_dim(config))


def _ernie_mlps(config: Config) -> list[str]:
    end = config.moe_layer_end_index
    last = depth(config) - 1 if end == -1 else end
    return [
        "moe"
        if (i + 1) % config.moe_layer_interval == 0 and config.moe_layer_start_index <= i <= last
        else "dense"
        for i in range(depth(config))
    ]


def _first_top_k(config: Config) -> int:
    value = config.first("moe_topk", "num_experts_per_tok")
    return int(value[0] if isinstance(value, list) else value)


def _jetmoe_experts(s: Sheet, config: Config, wide: int, n_out: int) -> None:
    h, e = config.hidden_size, config.num_local_experts
    s.param("bias", h, kind="bias")
    for name, shape in (("input_linear", (e, wide, h)), ("output_linear", (e, h, n_out))):
        s.param(f"{name}.weight", *shape, kind="experts", role="routed_experts", split="experts")
    s.linear("router.layer", h, e, role="router", split="replicated")


def _jetmoe_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Experts over query and output projections, one shared key-value projection."""
    s = sheet.at("self_attention", "attention")
    kv = config.kv_channels * config.num_key_value_heads
    _jetmoe_experts(s.at("experts"), config, kv, kv)
    s.linear("kv_proj", config.hidden_size, 2 * kv, split="kv")
    note_attention(
        sheet,
        plan,
        q=config.num_key_value_heads * config.num_experts_per_tok,
        kv=config.num_key_value_heads,
        dim=config.kv_channels,
    )


def _jetmoe_mlp(config: Config, plan: Plan, sheet: Sheet) -> None:
    width = config.intermediate_size
    _jetmoe_experts(sheet.at("mlp", "mlp"), config, 2 * width, width)
    sheet.layer.update(
        mlp="moe",
        num_experts=config.num_local_experts,
        num_experts_per_tok=config.num_experts_per_tok,
        moe_intermediate_size=width,
    )


def _dbrx_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    kv = int(config.get("attn_config", {}).get("kv_n_heads", 1))
    fused_qkv(scope="norm_attn_norm.attn", qkv="Wqkv", out="out_proj", bias=False, kv=lambda _: kv)(
        config, plan, sheet
    )


def _dbrx_ffn(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Experts kept as tall two-dimensional weights, every expert's rows below one another."""
    ffn = config.get("ffn_config", {})
    e, width = int(ffn.get("moe_num_experts", 4)), int(ffn.get("ffn_hidden_size", 3584))
    h = int(config.d_model)
    s = sheet.at("ffn", "mlp")
    s.linear("router.layer", h, e, role="router", split="replicated")
    for name in ("w1", "v1", "w2"):
        s.param(
            f"experts.mlp.{name}",
            e * width,
            h,
            kind="experts",
            role="routed_experts",
            split="experts",
        )
    sheet.layer.update(
        mlp="moe",
        num_experts=e,
        num_experts_per_tok=int(ffn.get("moe_top_k", 1)),
        moe_intermediate_size=width,
    )


QWEN_SHARED = moe(
    shared="shared_expert_intermediate_size",
    shared_scope="shared_expert",
    shared_gate="shared_expert_gate",
)

FAMILIES = (
    Family(
        types=("mixtral",),
        attention=gqa(),
        mlp=moe(inner="intermediate_size"),
        plan=same_window(all_moe),
    ),
    Family(
        types=("qwen3_moe", "qwen3_vl_moe_text", "qwen3_omni_moe_text"),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={"dense": gated(), "moe": moe()},
        plan=windowed(
            sparse_steps,
            types=lambda config: ["sliding_attention"] * config.num_hidden_layers,
            window=lambda config: (
                config.get("sliding_window") if config.get("use_sliding_window") else None
            ),
        ),
    ),
    Family(
        types=("qwen2_moe",),
        attention=gqa(bias="qkv_bias", out_bias=False),
        mlp={"dense": gated(), "moe": QWEN_SHARED},
        plan=windowed(
            sparse_steps,
            types=_qwen2_moe_types,
            window=lambda config: (
                config.get("sliding_window") if config.get("use_sliding_window") else None
            ),
        ),
    ),
    Family(
        types=("phimoe",),
        attention=gqa(bias="attention_bias"),
        mlp=moe(router="router", router_linear=True, inner="intermediate_size"),
        plan=same_window(all_moe),
        norm_kind="layer",
        head_bias="lm_head_bias",
    ),
    Family(
        types=("gpt_oss",),
        attention=gqa(bias="attention_bias", sinks=True),
        mlp=moe(
            router="router",
            router_bias=True,
            inner="intermediate_size",
            flipped=True,
            expert_bias=True,
        ),
        plan=windowed(all_moe, types=lambda config: layer_types(config, every(2))),
    ),
    Family(
        types=("olmoe",),
        attention=gqa(bias="attention_bias", qk_norm="full"),
        mlp=moe(inner="intermediate_size"),
        plan=by_layer(all_moe),
    ),
    Family(
        types=("flex_olmo",),
        attention=gqa(bias="attention_bias", qk_norm="full"),
        mlp=moe(inner="intermediate_size"),
        norms=SANDWICH[1::2],
        plan=by_layer(all_moe),
    ),
    Family(
        types=("granitemoe", "granitemoeshared"),
        attention=gqa(bias="attention_bias"),
        mlp=moe(scope="block_sparse_moe", router="router", inner="intermediate_size"),
        plan=by_layer(all_moe),
        around=granite_shared,
    ),
    Family(
        types=("glm4_moe",),
        attention=gqa(bias="attention_bias", out_bias=False, qk_norm="head", norm_if="use_qk_norm"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm4v_moe_text",),
        attention=gqa(bias="attention_bias", out_bias=False),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("dots1",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=windowed(after_dense()),
    ),
    Family(
        types=("afmoe",),
        attention=gqa(bias="attention_bias", qk_norm="head", extra=_output_gate),
        mlp={
            "dense": gated(),
            "moe": moe(
                router="router.gate",
                router_linear=True,
                correction="expert_bias",
                shared=lambda config: int(config.num_shared_experts * config.moe_intermediate_size),
            ),
        },
        plan=windowed(
            after_dense("num_dense_layers"),
            types=lambda config: layer_types(
                config, every(int(config.get("global_attn_every_n_layers", 4)))
            ),
        ),
        norms=(*PRE_NORM, "pre_mlp_layernorm", "post_mlp_layernorm"),
    ),
    Family(
        types=("ernie4_5_moe",),
        attention=gqa(bias="use_bias"),
        mlp={
            "dense": gated(bias="use_bias"),
            "moe": moe(
                extra=lambda config, _, s: s.param(
                    "gate.moe_statics.e_score_correction_bias",
                    1,
                    config.moe_num_experts,
                    role="router",
                ),
                shared=lambda config: int(
                    config.moe_num_shared_experts * config.moe_intermediate_size
                ),
                shared_bias="use_bias",
            ),
        },
        plan=by_layer(_ernie_mlps),
        head_bias="use_bias",
    ),
    Family(
        types=("hunyuan_v1_moe",),
        attention=gqa(
            bias="attention_bias", qk_norm="head", qk_names=("query_layernorm", "key_layernorm")
        ),
        mlp=moe(
            router="gate.wg",
            router_linear=True,
            inner="intermediate_size",
            top_k=_first_top_k,
            shared="intermediate_size",
            shared_scope="shared_mlp",
        ),
        plan=by_layer(all_moe),
    ),
    Family(
        types=("jetmoe",),
        attention=_jetmoe_attention,
        mlp=_jetmoe_mlp,
        plan=by_layer(all_moe),
    ),
    Family(
        types=("dbrx",),
        attention=_dbrx_attention,
        mlp=_dbrx_ffn,
        plan=by_layer(all_moe),
        norms=("norm_attn_norm.norm_1", "norm_attn_norm.norm_2"),
        norm_kind="layer_nobias",
        root="transformer",
        embed="wte",
        stack="blocks",
        last_norm="norm_f",
    ),
)
