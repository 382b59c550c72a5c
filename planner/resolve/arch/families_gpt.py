"""Older decoders after GPT-2: fused or biased projections, plain MLPs, learned positions."""

from __future__ import annotations

from planner.resolve.arch.attention import fused_qkv, heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.mlp import plain
from planner.resolve.arch.sheet import Plan, Sheet




def _inner(config: Config) -> int:
    given = config.get("n_inner")
    return int(given if given is not None else 4 * config.hidden_size)


def _positions(config: Config, _: Plan, sheet: Sheet) -> None:
    sheet.embedding("wpe", config.max_position_embeddings, config.hidden_size, split="replicated")


FAMILIES = (
    Family(
        types=("gpt2",),
        attention=fused_qkv(scope="attn", qkv="c_attn", out="c_proj", transposed=True),
        mlp=plain("c_fc", "c_proj", inner=_inner, bias=True, transposed=True),
        norms=("ln_1", "ln_2"),
        norm_kind="layer",
        root="transformer",
        embed="wte",
        stack="h",
        last_norm="ln_f",
        extra=_positions,
    ),
    Family(
        types=("gpt_bigcode",),
        attention=fused_qkv(
            scope="attn",
            qkv="c_attn",
            out="c_proj",
            kv=lambda config: 1 if config.multi_query else heads(config),
        ),
        mlp=plain("c_fc", "c_proj", inner=_inner, bias=True),
        norms=("ln_1", "ln_2"),
        norm_kind="layer",
        root="transformer",
        embed="wte",
        stack="h",
        last_norm="ln_f",
        extra=_positions,
    ),
)
