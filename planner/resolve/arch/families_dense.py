"""Dense decoders with separate projections, after Llama."""

from __future__ import annotations

from planner.resolve.arch.attention import fused_qkv, gqa, head_dim, kv_heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import (
    SANDWICH,
    Family,
    depth,
    every,
    layer_types,
    same_window,
    windowed,
)
from planner.resolve.arch.mlp import fused_gated, gated, plain


def _qwen_types(config: Config) -> list[str]:
    first = int(config.get("max_window_layers", 0))
    return layer_types(config, lambda i: "sliding_attention" if i >= first else "full_attention")


def _qwen_window(config: Config) -> int | None:
    return config.get("sliding_window") if config.get("use_sliding_window") else None


def _gemma3_types(config: Config) -> list[str]:
    return layer_types(config, every(int(config.get("sliding_window_pattern", 6))))


QWEN_WINDOWS = windowed(types=_qwen_types, window=_qwen_window)

FAMILIES = (
    Family(
        types=("llama",),
        attention=gqa(bias="attention_bias"),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(types=("mistral",), attention=gqa(), mlp=gated(), plan=same_window()),
    Family(
        types=("qwen2",), attention=gqa(bias=True, out_bias=False), mlp=gated(), plan=QWEN_WINDOWS
    ),
    Family(
        types=("qwen3",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp=gated(),
        plan=QWEN_WINDOWS,
    ),
    Family(types=("gemma",), attention=gqa(bias="attention_bias"), mlp=gated()),
    Family(
        types=("gemma2",),
        attention=gqa(bias="attention_bias", softcap="attn_logit_softcapping"),
        mlp=gated(),
        norms=SANDWICH,
        plan=windowed(types=lambda config: layer_types(config, every(2))),
    ),
    Family(
        types=("gemma3_text",),
        attention=gqa(bias="attention_bias", qk_norm="head", softcap="attn_logit_softcapping"),
        mlp=gated(),
        norms=SANDWICH,
        plan=windowed(types=_gemma3_types),
    ),
    Family(
        types=("phi3",),
        attention=fused_qkv(
            scope="self_attn", qkv="qkv_proj", out="o_proj", bias=False, dims=head_dim, kv=kv_heads
        ),
        mlp=fused_gated(),
        plan=same_window(),
    ),
)
