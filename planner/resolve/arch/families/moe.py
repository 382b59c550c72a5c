"""Mixtures of experts in every layer: Mixtral and its kin."""

from __future__ import annotations

from typing import Any

from planner.resolve.arch.attention import fused_qkv, gqa, head_dim
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, SANDWICH, Family
from planner.resolve.arch.layers import (
    all_moe,
    by_layer,
    every,
    fourth_full,
    layer_types,
    same_window,
    windowed,
)
from planner.resolve.arch.mlp import granite_shared, moe, write_gated
from planner.resolve.arch.sheet import Plan, Sheet


def _first_top_k(config: Config) -> int:
    value = config.first("moe_topk", "num_experts_per_tok")
    return int(value[0] if isinstance(value, list) else value)


def _first(value: Any) -> int:
    """A number that some files give once for each layer."""
    return int(value[0] if isinstance(value, list) else value)


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


def _arctic_residual(config: Config, _: Plan, sheet: Sheet) -> None:
    """A dense MLP of the hidden width beside the experts."""
    h = config.hidden_size
    write_gated(sheet.at("residual_mlp", "mlp"), h, h, names=("w1", "w3", "w2"))
    sheet.layer["intermediate_size"] = h


def _dense_beside(config: Config, _: Plan, sheet: Sheet) -> None:
    """A dense MLP whose output is added to that of the experts."""
    if config.get("residual_moe"):
        write_gated(sheet.at("mlp", "mlp"), config.hidden_size, config.intermediate_size)
        sheet.layer["intermediate_size"] = int(config.intermediate_size)


FAMILIES = (
    Family(
        types=("mixtral",),
        attention=gqa(),
        mlp=moe(inner="intermediate_size"),
        plan=same_window(all_moe),
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
        types=("granitemoe_swa",),
        attention=gqa(bias="attention_bias", sinks=True),
        mlp=moe(scope="block_sparse_moe", router="router", inner="intermediate_size"),
        plan=windowed(all_moe, types=fourth_full),
        around=granite_shared,
    ),
    Family(
        types=("minimax_m2",),
        attention=gqa(qk_norm="full"),
        mlp=moe(inner="intermediate_size"),
        plan=by_layer(all_moe),
    ),
    Family(
        types=("aria_text",),
        attention=gqa(bias="attention_bias"),
        mlp=moe(
            router="router",
            inner="intermediate_size",
            flipped=True,
            shared=lambda config: int(config.intermediate_size * config.moe_num_shared_experts),
            shared_bias="mlp_bias",
        ),
        plan=by_layer(all_moe),
    ),
    Family(
        types=("hunyuan",),
        attention=gqa(
            bias="attention_bias",
            dims=lambda config: int(config.get("attention_head_dim") or head_dim(config)),
            qk_norm="head",
            norm_if="use_qk_norm",
            qk_names=("query_layernorm", "key_layernorm"),
        ),
        mlp=moe(
            router="gate.wg",
            router_linear=True,
            inner=lambda config: _first(
                config.get("moe_intermediate_size") or config.intermediate_size
            ),
            top_k=lambda config: _first(config.moe_topk),
            shared=lambda config: (
                _first(config.get("num_shared_expert") or 0)
                * _first(config.get("moe_intermediate_size") or config.intermediate_size)
            ),
            shared_scope="shared_mlp",
        ),
        plan=by_layer(all_moe),
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
        types=("kolibri1",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp=moe(shared="shared_expert_intermediate_size"),
        plan=windowed(all_moe, types=lambda config: layer_types(config, every(5))),
        norms=(*PRE_NORM, "post_self_attn_layernorm", "post_mlp_layernorm"),
    ),
    Family(
        types=("grok-1",),
        attention=gqa(scope="attn"),
        mlp=moe(scope="moe_block", router_linear=True, inner="intermediate_size"),
        plan=by_layer(all_moe),
        norms=("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm"),
    ),
    Family(
        types=("grok-2",),
        attention=gqa(),
        mlp=moe(scope="block_sparse_moe", router_linear=True),
        plan=by_layer(all_moe),
        norms=("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm"),
        around=_dense_beside,
    ),
    Family(
        types=("arctic",),
        attention=gqa(),
        mlp=moe(
            scope="block_sparse_moe",
            router_linear=True,
            inner="intermediate_size",
        ),
        plan=by_layer(all_moe),
        norms=("input_layernorm", "post_attention_layernorm", "residual_layernorm"),
        around=_arctic_residual,
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
