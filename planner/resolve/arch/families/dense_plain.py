"""Dense decoders with separate projections and two matrices as their MLP."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, fused_qkv, gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, Family
from planner.resolve.arch.layers import same_window
from planner.resolve.arch.mlp import plain
from planner.resolve.arch.sheet import Plan, Sheet


def _xielu(_: Config, __: Plan, s: Sheet) -> None:
    """Learned scalars of the xIELU activation."""
    s.param("act_fn.alpha_p", 1)
    s.param("act_fn.alpha_n", 1)


FAMILIES = (
    Family(types=("arcee",), attention=gqa(bias="attention_bias"), mlp=plain(bias="mlp_bias")),
    Family(
        types=("nemotron", "jais2"),
        attention=gqa(bias="attention_bias"),
        mlp=plain(bias="mlp_bias"),
        norm_kind="layer",
    ),
    Family(
        types=("starcoder2",),
        attention=gqa(bias="use_bias"),
        mlp=plain("c_fc", "c_proj", bias="use_bias"),
        norm_kind="layer",
        plan=same_window(),
    ),
    Family(
        types=("apertus",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp=plain(bias="mlp_bias", extra=_xielu),
        norms=("attention_layernorm", "feedforward_layernorm"),
    ),
    Family(
        types=("phi",),
        attention=gqa(
            names=("q_proj", "k_proj", "v_proj", "dense"),
            bias=True,
            dims=even_head_dim,
            qk_norm="head",
            norm_if="qk_layernorm",
            qk_names=("q_layernorm", "k_layernorm"),
            norm_kind="layer",
        ),
        mlp=plain("fc1", "fc2", bias=True),
        norms=PRE_NORM[:1],
        norm_kind="layer",
        last_norm="final_layernorm",
        head_bias=True,
        parallel=True,
    ),
    Family(
        types=("nanochat",),
        attention=gqa(bias="attention_bias"),
        mlp=plain("fc1", "fc2"),
        norm_kind="none",
    ),
    Family(
        types=("cosmos3_edge_text",),
        attention=gqa(bias="attention_bias"),
        mlp=plain("fc1", "fc2", bias="mlp_bias"),
    ),
    Family(
        types=("persimmon",),
        attention=fused_qkv(
            scope="self_attn",
            qkv="query_key_value",
            out="dense",
            qk_norm="head",
            norm_if="qk_layernorm",
            qk_names=("q_layernorm", "k_layernorm"),
            norm_kind="layer",
        ),
        mlp=plain("dense_h_to_4h", "dense_4h_to_h", bias=True),
        norm_kind="layer",
        last_norm="final_layernorm",
    ),
)
