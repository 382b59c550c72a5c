"""Dense decoders that join projections in one matrix, or name them as GPT-2 does."""

from __future__ import annotations

from planner.resolve.arch.attention import fused_qkv, gqa, head_dim, kv_heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import same_window
from planner.resolve.arch.mlp import fused_gated, gated
from planner.resolve.arch.sheet import Plan, Sheet


def _phi3small_mlp(config: Config, plan: Plan, sheet: Sheet) -> None:
    width = int(config.get("ff_intermediate_size") or config.intermediate_size)
    fused_gated(inner=lambda _: width, up="up_proj", bias=True)(config, plan, sheet)


FAMILIES = (
    Family(
        types=("phi3",),
        attention=fused_qkv(
            scope="self_attn", qkv="qkv_proj", out="o_proj", bias=False, dims=head_dim, kv=kv_heads
        ),
        mlp=fused_gated(),
        plan=same_window(),
    ),
    Family(
        types=("phi3small",),
        attention=fused_qkv(scope="self_attn", qkv="query_key_value", out="dense", kv=kv_heads),
        mlp=_phi3small_mlp,
        norm_kind="layer",
        last_norm="final_layernorm",
    ),
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
)
