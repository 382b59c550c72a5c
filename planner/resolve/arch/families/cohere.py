"""Cohere's decoders: attention and MLP side by side behind one norm."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, gqa, head_dim, heads, kv_heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import after_dense, every, layer_types, windowed
from planner.resolve.arch.mlp import gated, moe, shared_if_any
from planner.resolve.arch.sheet import Plan, Sheet


def _cohere_tensors(config: Config, _: Plan, s: Sheet) -> None:
    """Per-head layer norms of Cohere's queries and keys."""
    if config.get("use_qk_norm"):
        d = head_dim(config)
        s.param("q_norm.weight", heads(config), d, kind="norm", role="norm")
        s.param("k_norm.weight", kv_heads(config), d, kind="norm", role="norm")


def _cohere2_moe_types(config: Config) -> list[str]:
    first = int(config.get("first_k_dense_replace", 0))
    step, early = (
        config.sliding_window_pattern,
        config.get("prefix_dense_sliding_window_pattern", 1),
    )
    return layer_types(
        config,
        lambda i: every(int(early))(i) if i < first else every(int(step))(i - first),
    )


FAMILIES = (
    Family(
        types=("cohere",),
        attention=gqa(bias="attention_bias", extra=_cohere_tensors),
        mlp=gated(),
        norms=("input_layernorm",),
        norm_kind="layer_nobias",
        parallel=True,
    ),
    Family(
        types=("cohere2",),
        attention=gqa(bias="attention_bias", dims=even_head_dim),
        mlp=gated(),
        norms=("input_layernorm",),
        norm_kind="layer_nobias",
        parallel=True,
        plan=windowed(
            types=lambda config: layer_types(
                config, every(int(config.get("sliding_window_pattern", 4)))
            )
        ),
    ),
    Family(
        types=("cohere_compass_text",),
        attention=gqa(bias="attention_bias", dims=even_head_dim),
        mlp=gated(),
        norms=("input_layernorm",),
        norm_kind="layer_nobias",
        parallel=True,
        plan=windowed(),
    ),
    Family(
        types=("cohere2_moe",),
        attention=gqa(bias="attention_bias"),
        mlp={
            "dense": gated(),
            "moe": moe(inner="intermediate_size", shared=shared_if_any),
        },
        norms=("input_layernorm",),
        norm_kind="layer_nobias",
        parallel=True,
        plan=windowed(after_dense(), types=_cohere2_moe_types),
    ),
)
