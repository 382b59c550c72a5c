"""Families whose classes live beside their checkpoints, described from their published code."""

from __future__ import annotations

from typing import Any

from planner.resolve.arch.attention import fused_qkv, gqa, head_dim, kv_heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family, after_dense, all_moe, by_layer, depth, windowed
from planner.resolve.arch.mlp import fused_gated, gated, moe, shared_total
from planner.resolve.arch.recurrent import lightning
from planner.resolve.arch.sheet import Plan, Sheet


def _first(value: Any) -> int:
    """A number that some files give once for each layer."""
    return int(value[0] if isinstance(value, list) else value)


def _minimax_m1_types(config: Config) -> list[str]:
    kinds = config.get("attn_type_list") or [1] * depth(config)
    return ["full_attention" if kind else "linear_attention" for kind in kinds]


def _chatglm_kv(config: Config) -> int:
    if config.get("multi_query_attention"):
        return int(config.multi_query_group_num)
    return int(config.num_attention_heads)


def _phi3small_mlp(config: Config, plan: Plan, sheet: Sheet) -> None:
    width = int(config.get("ff_intermediate_size") or config.intermediate_size)
    fused_gated(inner=lambda _: width, up="up_proj", bias=True)(config, plan, sheet)


FAMILIES = (
    Family(types=("xverse", "minicpm"), attention=gqa(), mlp=gated()),
    Family(types=("orion",), attention=gqa(), mlp=gated(), norm_kind="layer"),
    Family(
        types=("baichuan",),
        attention=fused_qkv(scope="self_attn", qkv="W_pack", out="o_proj", bias=False),
        mlp=gated(),
    ),
    Family(
        types=("internlm2",),
        attention=fused_qkv(scope="attention", qkv="wqkv", out="wo", bias="bias", kv=kv_heads),
        mlp=gated(scope="feed_forward", names=("w1", "w3", "w2"), bias="bias"),
        norms=("attention_norm", "ffn_norm"),
        embed="tok_embeddings",
        head="output",
    ),
    Family(
        types=("exaone",),
        attention=gqa(scope="attn.attention", names=("q_proj", "k_proj", "v_proj", "out_proj")),
        mlp=gated(names=("c_fc_0", "c_fc_1", "c_proj")),
        norms=("ln_1", "ln_2"),
        root="transformer",
        embed="wte",
        stack="h",
        last_norm="ln_f",
    ),
    Family(
        types=("qwen",),
        attention=fused_qkv(scope="attn", qkv="c_attn", out="c_proj", out_bias=False),
        mlp=gated(
            inner=lambda config: int(config.intermediate_size) // 2, names=("w1", "w2", "c_proj")
        ),
        norms=("ln_1", "ln_2"),
        root="transformer",
        embed="wte",
        stack="h",
        last_norm="ln_f",
    ),
    Family(
        types=("chatglm",),
        attention=fused_qkv(
            scope="self_attention",
            qkv="query_key_value",
            out="dense",
            bias=lambda config: bool(config.add_qkv_bias or config.add_bias_linear),
            out_bias="add_bias_linear",
            dims=lambda config: int(config.kv_channels),
            kv=_chatglm_kv,
        ),
        mlp=fused_gated(
            inner="ffn_hidden_size",
            up="dense_h_to_4h",
            down="dense_4h_to_h",
            bias="add_bias_linear",
        ),
        norm_kind=lambda config: "rms" if config.get("rmsnorm", True) else "layer",
        root="transformer",
        inner="encoder.",
        embed="word_embeddings",
        embed_rows="padded_vocab_size",
        head="transformer.output_layer",
        last_norm="final_layernorm",
    ),
    Family(
        types=("phi3small",),
        attention=fused_qkv(scope="self_attn", qkv="query_key_value", out="dense", kv=kv_heads),
        mlp=_phi3small_mlp,
        norm_kind="layer",
        last_norm="final_layernorm",
    ),
    Family(
        types=("deepseek",),
        attention=gqa(bias="attention_bias"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
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
        types=("minimax_m1", "minimax_text_01"),
        attention={"full": gqa(), "linear": lightning()},
        mlp=moe(scope="block_sparse_moe", inner="intermediate_size"),
        plan=windowed(all_moe, types=_minimax_m1_types, mixers={"linear_attention": "linear"}),
    ),
)
