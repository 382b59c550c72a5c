"""Dense decoders after Llama: separate projections, a gated MLP, RMS norms before both."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import (
    fourth_full,
    layer_types,
    same_window,
    window_in_use,
    windowed,
)
from planner.resolve.arch.mlp import gated
from planner.resolve.arch.sheet import Plan, Sheet


def _qwen_types(config: Config) -> list[str]:
    first = int(config.get("max_window_layers", 0))
    return layer_types(config, lambda i: "sliding_attention" if i >= first else "full_attention")


QWEN_WINDOWS = windowed(types=_qwen_types, window=window_in_use)


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


def _more_words(config: Config, _: Plan, s: Sheet) -> None:
    more = int(config.get("additional_vocab_size", 0))
    if more:
        tied = bool(config.get("tie_word_embeddings"))
        s.linear("lm_head.additional_fc", config.hidden_size, more, role="lm_head", tied=tied)


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
    Family(
        types=("ernie4_5", "paddleocr_vl_text"),
        attention=gqa(bias="use_bias"),
        mlp=gated(bias="use_bias"),
    ),
    Family(
        types=("seed_oss",),
        attention=gqa(bias="attention_bias", out_bias="attention_out_bias"),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(
        types=("smollm3",),
        attention=gqa(bias="attention_bias"),
        mlp=gated(bias="mlp_bias"),
        plan=windowed(types=_by_rope),
    ),
    Family(
        types=("helium",),
        attention=gqa(bias="attention_bias", out_bias=False, square_out=True),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(types=("xverse", "minicpm"), attention=gqa(), mlp=gated()),
    Family(types=("internlm",), attention=gqa(bias="bias"), mlp=gated()),
    Family(
        types=("internlm3",),
        attention=gqa(bias="qkv_bias", out_bias="bias"),
        mlp=gated(bias="bias"),
    ),
    Family(
        types=("cwm",),
        attention=gqa(),
        mlp=gated(bias="mlp_bias"),
        plan=windowed(types=fourth_full),
    ),
    Family(
        types=("granite_swa",),
        attention=gqa(bias="attention_bias", sinks=True),
        mlp=gated(bias="mlp_bias"),
        plan=windowed(types=fourth_full),
    ),
    Family(types=("idefics_text",), attention=gqa(), mlp=gated(), outside=_more_words),
    Family(
        types=("molmo2_text",),
        attention=gqa(bias="attention_bias", out_bias=False, qk_norm="head"),
        mlp=gated(),
        embed_rows=lambda config: int(config.vocab_size + config.additional_vocab_size),
    ),
)
