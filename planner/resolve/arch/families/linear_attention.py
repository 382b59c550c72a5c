"""Decoders of gated delta rules, lightning attention and short convolutions."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.families.mamba import LINEAR
from planner.resolve.arch.families.moe import QWEN_SHARED
from planner.resolve.arch.family import (
    PRE_NORM,
    SANDWICH,
    Family,
    after_dense,
    all_moe,
    every,
    layer_types,
    sparse_steps,
    windowed,
)
from planner.resolve.arch.mlp import gated, moe
from planner.resolve.arch.recurrent import (
    gated_delta,
    lightning,
    short_conv,
    split_delta,
)


def _qwen_next_types(config: Config) -> list[str]:
    step = int(config.get("full_attention_interval", 4))
    return layer_types(config, every(step, "linear_attention"))


def _olmo_hybrid_types(config: Config) -> list[str]:
    types = layer_types(config, every(4, "linear_attention"))
    if config.get("layer_types") is None and "full_attention" not in types:
        types[-1] = "full_attention"
    return types


def _lfm_types(config: Config) -> list[str]:
    full = config.get("full_attn_idxs")
    return layer_types(config, lambda i: "full_attention" if full is None or i in full else "conv")


def _lfm_width(config: Config) -> int:
    """Two thirds of the given width, scaled and rounded up, where the config asks for it."""
    width = int(config.intermediate_size)
    if not config.get("block_auto_adjust_ff_dim"):
        return width
    width = int(2 * width / 3)
    if config.get("block_ffn_dim_multiplier") is not None:
        width = int(config.block_ffn_dim_multiplier * width)
        step = int(config.block_multiple_of)
        width = step * ((width + step - 1) // step)
    return width


LFM_ATTENTION = gqa(
    names=("q_proj", "k_proj", "v_proj", "out_proj"),
    dims=even_head_dim,
    qk_norm="head",
    qk_names=("q_layernorm", "k_layernorm"),
)


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
        types=("lfm2",),
        attention={
            "full": LFM_ATTENTION,
            "conv": short_conv(),
        },
        mlp=gated(scope="feed_forward", inner=_lfm_width, names=("w1", "w3", "w2")),
        plan=windowed(types=_lfm_types, mixers={"conv": "conv"}),
        norms=("operator_norm", "ffn_norm"),
        last_norm="embedding_norm",
    ),
    Family(
        types=("lfm2_moe",),
        attention={
            "full": LFM_ATTENTION,
            "conv": short_conv(),
        },
        mlp={
            "dense": gated(scope="feed_forward", names=("w1", "w3", "w2")),
            "moe": moe(scope="feed_forward"),
        },
        plan=windowed(after_dense("num_dense_layers"), types=_lfm_types, mixers={"conv": "conv"}),
        norms=("operator_norm", "ffn_norm"),
        last_norm="embedding_norm",
    ),
)
