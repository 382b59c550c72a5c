"""LFM2 and LFM3: short convolutions beside attention."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, gqa, heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import after_dense, layer_types, windowed
from planner.resolve.arch.mlp import gated, moe
from planner.resolve.arch.recurrent import short_conv
from planner.resolve.arch.sheet import Plan, Sheet


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


def _lfm3_gate(config: Config, _: Plan, s: Sheet) -> None:
    if config.get("use_attention_gate", True):
        s.linear("g_proj", config.hidden_size, heads(config))


def _lfm3_types(config: Config) -> list[str]:
    return layer_types(
        config,
        lambda i: (
            "full_attention"
            if i % 4 == 2
            else "sliding_attention"
            if i % 4 == 0 and i > 0
            else "conv"
        ),
    )


def _lfm3_norms(config: Config, _: Plan) -> tuple[str, ...]:
    names = ("operator_norm", "ffn_norm")
    if config.get("use_sandwich_norm", True):
        return (*names, "post_operator_norm", "post_ffn_norm")
    return names


FAMILIES = (
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
    Family(
        types=("lfm3",),
        attention={
            "full": gqa(bias="attention_bias", qk_norm="head", extra=_lfm3_gate),
            "conv": short_conv(),
        },
        mlp=gated(scope="feed_forward", names=("w1", "w3", "w2")),
        plan=windowed(types=_lfm3_types, mixers={"conv": "conv"}),
        norms=_lfm3_norms,
        last_norm="embedding_norm",
    ),
)
