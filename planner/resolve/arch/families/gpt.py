"""GPT, GPT-2 and StarCoder, GPT-J, CodeGen, GPT-Neo and NeoX: plain MLPs, layer norms."""

from __future__ import annotations

from functools import partial

from planner.resolve.arch.attention import even_head_dim, fused_qkv, gqa, heads, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import depth
from planner.resolve.arch.mlp import plain
from planner.resolve.arch.sheet import Plan, Sheet


def _inner(config: Config) -> int:
    given = config.get("n_inner")
    return int(given if given is not None else 4 * config.hidden_size)


def _positions(config: Config, _: Plan, sheet: Sheet) -> None:
    sheet.embedding("wpe", config.max_position_embeddings, config.hidden_size, split="replicated")


def _neo_plan(config: Config) -> list[Plan]:
    pattern = config.get("attention_types", [[["global", "local"], 12]])
    kinds = [kind for names, times in pattern for kind in list(names) * times]
    if len(kinds) != config.num_hidden_layers:
        raise config.problem(
            f"attention_types lays out {len(kinds)} layers, num_layers says"
            f" {config.num_hidden_layers}"
        )
    return [Plan("sliding", config.window_size) if kind == "local" else Plan() for kind in kinds]


def _japanese_plan(config: Config) -> list[Plan]:
    last = depth(config) - 1
    return [Plan(tag=i == last) for i in range(depth(config))]


def _japanese_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    s = sheet.at("attention", "attention")
    h, q = config.hidden_size, heads(config)
    s.linear("query_key_value", h, 3 * h)
    s.linear("dense", h, h, split="row")
    if plan.tag:
        s.param("dense_bias", h, kind="bias")
    note_attention(sheet, plan, q=q, kv=q, dim=even_head_dim(config), fused_qkv=True)


_like_gpt2 = partial(
    Family, norm_kind="layer", root="transformer", embed="wte", stack="h", last_norm="ln_f"
)


FAMILIES = (
    Family(
        types=("openai-gpt",),
        attention=fused_qkv(scope="attn", qkv="c_attn", out="c_proj", transposed=True),
        mlp=plain(
            "c_fc",
            "c_proj",
            inner=lambda config: 4 * int(config.hidden_size),
            bias=True,
            transposed=True,
        ),
        norms=("ln_1", "ln_2"),
        norm_kind="layer",
        root="transformer",
        embed="tokens_embed",
        stack="h",
        last_norm="",
        extra=lambda config, _, s: s.embedding(
            "positions_embed",
            config.max_position_embeddings,
            config.hidden_size,
            split="replicated",
        ),
    ),
    _like_gpt2(
        types=("gpt2", "gpt-sw3"),
        attention=fused_qkv(scope="attn", qkv="c_attn", out="c_proj", transposed=True),
        mlp=plain("c_fc", "c_proj", inner=_inner, bias=True, transposed=True),
        norms=("ln_1", "ln_2"),
        extra=_positions,
    ),
    _like_gpt2(
        types=("gpt_bigcode",),
        attention=fused_qkv(
            scope="attn",
            qkv="c_attn",
            out="c_proj",
            kv=lambda config: 1 if config.multi_query else heads(config),
        ),
        mlp=plain("c_fc", "c_proj", inner=_inner, bias=True),
        norms=("ln_1", "ln_2"),
        extra=_positions,
    ),
    _like_gpt2(
        types=("gptj",),
        attention=gqa(
            scope="attn", names=("q_proj", "k_proj", "v_proj", "out_proj"), dims=even_head_dim
        ),
        mlp=plain("fc_in", "fc_out", inner=_inner, bias=True),
        norms=("ln_1",),
        head_bias=True,
        parallel=True,
    ),
    _like_gpt2(
        types=("codegen",),
        attention=fused_qkv(scope="attn", qkv="qkv_proj", out="out_proj", bias=False),
        mlp=plain("fc_in", "fc_out", inner=_inner, bias=True),
        norms=("ln_1",),
        head_bias=True,
        parallel=True,
    ),
    _like_gpt2(
        types=("gpt_neo",),
        attention=gqa(
            scope="attn.attention",
            names=("q_proj", "k_proj", "v_proj", "out_proj"),
            out_bias=True,
            dims=even_head_dim,
        ),
        mlp=plain(
            "c_fc",
            "c_proj",
            inner=lambda config: int(config.get("intermediate_size") or 4 * config.hidden_size),
            bias=True,
        ),
        plan=_neo_plan,
        norms=("ln_1", "ln_2"),
        extra=_positions,
    ),
    Family(
        types=("gpt_neox",),
        attention=fused_qkv(
            scope="attention", qkv="query_key_value", out="dense", bias="attention_bias"
        ),
        mlp=plain("dense_h_to_4h", "dense_4h_to_h", bias=True),
        norm_kind="layer",
        root="gpt_neox",
        embed="embed_in",
        last_norm="final_layer_norm",
        parallel="use_parallel_residual",
    ),
    Family(
        types=("gpt_neox_japanese",),
        attention=_japanese_attention,
        mlp=plain(
            "dense_h_to_4h",
            "dense_4h_to_h",
            inner=lambda config: int(config.intermediate_multiple_size * config.hidden_size),
        ),
        plan=_japanese_plan,
        norm_kind="layer",
        root="gpt_neox_japanese",
        embed="embed_in",
        last_norm="final_layer_norm",
        head="embed_out",
    ),
)
