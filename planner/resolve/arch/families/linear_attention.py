"""Decoders of gated delta rules or lightning attention beside full attention."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, SANDWICH, Family
from planner.resolve.arch.layers import (
    LINEAR,
    all_moe,
    depth,
    every,
    layer_types,
    sparse_steps,
    windowed,
)
from planner.resolve.arch.mlp import QWEN_SHARED, gated, moe
from planner.resolve.arch.recurrent import gated_delta, lightning, split_delta


def _qwen_next_types(config: Config) -> list[str]:
    step = int(config.get("full_attention_interval", 4))
    return layer_types(config, every(step, "linear_attention"))


def _olmo_hybrid_types(config: Config) -> list[str]:
    types = layer_types(config, every(4, "linear_attention"))
    if config.get("layer_types") is None and "full_attention" not in types:
        types[-1] = "full_attention"
    return types


def _minimax_m1_types(config: Config) -> list[str]:
    kinds = config.get("attn_type_list") or [1] * depth(config)
    return ["full_attention" if kind else "linear_attention" for kind in kinds]


FAMILIES = (
    Family(
        types=("qwen3_next",),
        norm_fp32=True,
        attention={
            "full": gqa(bias="attention_bias", qk_norm="head", q_times=2),
            "linear": gated_delta(),
        },
        mlp={"dense": gated(), "moe": QWEN_SHARED},
        plan=windowed(sparse_steps, types=_qwen_next_types, mixers=LINEAR),
    ),
    Family(
        types=("qwen3_5_text",),
        norm_fp32=True,
        attention={
            "full": gqa(bias="attention_bias", qk_norm="head", q_times=2),
            "linear": gated_delta(joined=False),
        },
        mlp=gated(),
        plan=windowed(types=_qwen_next_types, mixers=LINEAR),
    ),
    Family(
        types=("qwen3_5_moe_text",),
        norm_fp32=True,
        attention={
            "full": gqa(bias="attention_bias", qk_norm="head", q_times=2),
            "linear": gated_delta(joined=False),
        },
        mlp=QWEN_SHARED,
        plan=windowed(all_moe, types=_qwen_next_types, mixers=LINEAR),
    ),
    Family(
        types=("olmo_hybrid",),
        attention={
            "full": gqa(bias="attention_bias", qk_norm="full"),
            "linear": split_delta(),
        },
        mlp=gated(),
        plan=windowed(types=_olmo_hybrid_types, mixers=LINEAR),
        norms=lambda _, plan: PRE_NORM if plan.mixer == "linear" else SANDWICH[1::2],
    ),
    Family(
        types=("minimax",),
        attention={"full": gqa(), "linear": lightning()},
        mlp=moe(inner="intermediate_size"),
        plan=windowed(
            all_moe,
            types=lambda config: layer_types(
                config, lambda i: "linear_attention" if i % 2 else "full_attention"
            ),
            mixers=LINEAR,
        ),
    ),
    Family(
        types=("minimax_m1", "minimax_text_01"),
        attention={"full": gqa(), "linear": lightning()},
        mlp=moe(scope="block_sparse_moe", inner="intermediate_size"),
        plan=windowed(all_moe, types=_minimax_m1_types, mixers={"linear_attention": "linear"}),
    ),
)
