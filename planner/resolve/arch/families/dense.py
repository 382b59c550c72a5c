"""Dense decoders with separate projections, after Llama."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, fused_qkv, gqa, head_dim, heads, kv_heads
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
from planner.resolve.arch.sheet import Plan, Sheet


def _qwen_types(config: Config) -> list[str]:
    first = int(config.get("max_window_layers", 0))
    return layer_types(config, lambda i: "sliding_attention" if i >= first else "full_attention")


def _qwen_window(config: Config) -> int | None:
    return config.get("sliding_window") if config.get("use_sliding_window") else None


def _gemma3_types(config: Config) -> list[str]:
    return layer_types(config, every(int(config.get("sliding_window_pattern", 6))))


QWEN_WINDOWS = windowed(types=_qwen_types, window=_qwen_window)


def _by_rope(config: Config) -> list[str]:
    """SmolLM3: layers without rotary positions are the ones that attend to everything."""
    rotary = config.get("no_rope_layers")
    step = int(config.get("no_rope_layer_interval", 4))
    if not config.get("use_sliding_window"):
        return layer_types(config)
    return layer_types(
        config,
        lambda i: (
            "sliding_attention" if (rotary[i] if rotary else (i + 1) % step) else "full_attention"
        ),
    )


def exaone_types(config: Config) -> list[str]:
    """EXAONE's pattern of sliding and full layers, a number or a string of letters."""
    pattern = config.get("sliding_window_pattern", 4)
    if isinstance(pattern, str):
        last = depth(config) - 1
        return layer_types(
            config,
            lambda i: (
                "full_attention"
                if i == last or pattern[i % len(pattern)] == "G"
                else "sliding_attention"
            ),
        )
    return layer_types(config, every(int(pattern or 1)))


def exaone_window(config: Config) -> int | None:
    """The span of EXAONE's sliding layers."""
    return config.get("sliding_window") if config.get("sliding_window_pattern", 4) else None


def _cohere_tensors(config: Config, _: Plan, s: Sheet) -> None:
    """Per-head layer norms of Cohere's queries and keys."""
    if config.get("use_qk_norm"):
        d = head_dim(config)
        s.param("q_norm.weight", heads(config), d, kind="norm", role="norm")
        s.param("k_norm.weight", kv_heads(config), d, kind="norm", role="norm")


FAMILIES = (
    Family(
        types=(
            "llama",
            "granite",
            "iquestcoder",
            "granite_docling_text",
            "granite4_vision_text",
            "emu3_text_model",
        ),
        attention=gqa(bias="attention_bias"),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(types=("mistral", "ministral3"), attention=gqa(), mlp=gated(), plan=same_window()),
    Family(
        types=("ministral",),
        attention=gqa(),
        mlp=gated(),
        plan=windowed(types=lambda config: layer_types(config, lambda _: "sliding_attention")),
    ),
    Family(
        types=("qwen2", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text"),
        attention=gqa(bias=True, out_bias=False),
        mlp=gated(),
        plan=QWEN_WINDOWS,
    ),
    Family(
        types=("qwen3", "qwen3_vl_text"),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp=gated(),
        plan=QWEN_WINDOWS,
    ),
    Family(types=("gemma",), norm_fp32=True, attention=gqa(bias="attention_bias"), mlp=gated()),
    Family(
        types=("gemma2",),
        norm_fp32=True,
        attention=gqa(bias="attention_bias", softcap="attn_logit_softcapping"),
        mlp=gated(),
        norms=SANDWICH,
        plan=windowed(types=lambda config: layer_types(config, every(2))),
    ),
    Family(
        types=("gemma3_text",),
        norm_fp32=True,
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
    Family(types=("arcee",), attention=gqa(bias="attention_bias"), mlp=plain(bias="mlp_bias")),
    Family(
        types=("nemotron",),
        attention=gqa(bias="attention_bias"),
        mlp=plain(bias="mlp_bias"),
        norm_kind="layer",
    ),
    Family(types=("olmo",), attention=gqa(bias="attention_bias"), mlp=gated(), norm_kind="none"),
    Family(
        types=("olmo2",),
        attention=gqa(bias="attention_bias", qk_norm="full"),
        mlp=gated(),
        norms=SANDWICH[1::2],
    ),
    Family(
        types=("olmo3",),
        attention=gqa(bias="attention_bias", qk_norm="full"),
        mlp=gated(),
        norms=SANDWICH[1::2],
        plan=windowed(types=lambda config: layer_types(config, every(4))),
    ),
    Family(
        types=("starcoder2",),
        attention=gqa(bias="use_bias"),
        mlp=plain("c_fc", "c_proj", bias="use_bias"),
        norm_kind="layer",
        plan=same_window(),
    ),
    Family(
        types=("seed_oss",),
        attention=gqa(bias="attention_bias", out_bias="attention_out_bias"),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(
        types=("cohere",),
        attention=gqa(bias="attention_bias", extra=_cohere_tensors),
        mlp=gated(),
        norms=("input_layernorm",),
        norm_kind="layer_nobias",
        parallel=True,
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
        types=("smollm3",),
        attention=gqa(bias="attention_bias"),
        mlp=gated(bias="mlp_bias"),
        plan=windowed(types=_by_rope),
    ),
    Family(
        types=("exaone4", "exaone4_5_text"),
        attention=gqa(qk_norm="head"),
        mlp=gated(),
        norms=SANDWICH[1::2],
        plan=windowed(types=exaone_types, window=exaone_window),
    ),
)
