"""Older decoders after GPT-2: fused or biased projections, plain MLPs, learned positions."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, fused_qkv, gqa, heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, Family
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


def _falcon_kv(config: Config) -> int:
    if config.new_decoder_architecture:
        return int(config.get("num_kv_heads") or heads(config))
    return 1 if config.multi_query else heads(config)


def _falcon_norms(config: Config, _: Plan) -> tuple[str, ...]:
    two = config.get("num_ln_in_parallel_attn")
    if two is None and config.new_decoder_architecture:
        two = 2
    if config.new_decoder_architecture and two == 2:
        return ("ln_attn", "ln_mlp")
    return ("input_layernorm",) if config.parallel_attn else PRE_NORM


def _opt_norms(config: Config) -> str:
    return "layer" if config.get("layer_norm_elementwise_affine", True) else "none"


def _opt_width(config: Config) -> int:
    return int(config.get("word_embed_proj_dim") or config.hidden_size)


def _opt_extra(config: Config, _: Plan, s: Sheet) -> None:
    h, e = config.hidden_size, _opt_width(config)
    s.embedding("embed_positions", config.max_position_embeddings + 2, h, split="replicated")
    if e != h:
        s.linear("project_out", h, e, role="embedding", split="replicated")
        s.linear("project_in", e, h, role="embedding", split="replicated")
    if config.do_layer_norm_before and not config.get("_remove_final_layer_norm"):
        s.norm("final_layer_norm", h)


FAMILIES = (
    Family(
        types=("gpt2", "gpt-sw3"),
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
        types=("gptj",),
        attention=gqa(
            scope="attn", names=("q_proj", "k_proj", "v_proj", "out_proj"), dims=even_head_dim
        ),
        mlp=plain("fc_in", "fc_out", inner=_inner, bias=True),
        norms=("ln_1",),
        norm_kind="layer",
        root="transformer",
        embed="wte",
        stack="h",
        last_norm="ln_f",
        head_bias=True,
        parallel=True,
    ),
    Family(
        types=("codegen",),
        attention=fused_qkv(scope="attn", qkv="qkv_proj", out="out_proj", bias=False),
        mlp=plain("fc_in", "fc_out", inner=_inner, bias=True),
        norms=("ln_1",),
        norm_kind="layer",
        root="transformer",
        embed="wte",
        stack="h",
        last_norm="ln_f",
        head_bias=True,
        parallel=True,
    ),
    Family(
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
        norm_kind="layer",
        root="transformer",
        embed="wte",
        stack="h",
        last_norm="ln_f",
        extra=_positions,
    ),
    Family(
        types=("bloom",),
        attention=fused_qkv(scope="self_attention", qkv="query_key_value", out="dense"),
        mlp=plain(
            "dense_h_to_4h",
            "dense_4h_to_h",
            inner=lambda config: 4 * int(config.hidden_size),
            bias=True,
        ),
        norm_kind="layer",
        root="transformer",
        embed="word_embeddings",
        stack="h",
        last_norm="ln_f",
        extra=lambda config, _, s: s.norm("word_embeddings_layernorm", config.hidden_size),
    ),
    Family(
        types=("falcon",),
        attention=fused_qkv(
            scope="self_attention", qkv="query_key_value", out="dense", bias="bias", kv=_falcon_kv
        ),
        mlp=plain(
            "dense_h_to_4h",
            "dense_4h_to_h",
            inner=lambda config: int(config.get("ffn_hidden_size") or 4 * config.hidden_size),
            bias="bias",
        ),
        norms=_falcon_norms,
        norm_kind="layer",
        root="transformer",
        embed="word_embeddings",
        stack="h",
        last_norm="ln_f",
        parallel="parallel_attn",
    ),
    Family(
        types=("mpt",),
        attention=fused_qkv(scope="attn", qkv="Wqkv", out="out_proj", bias=False),
        mlp=plain(scope="ffn", inner=lambda config: 4 * int(config.hidden_size)),
        norms=("norm_1", "norm_2"),
        norm_kind="layer_nobias",
        root="transformer",
        embed="wte",
        stack="blocks",
        last_norm="norm_f",
    ),
    Family(
        types=("opt",),
        attention=gqa(
            names=("q_proj", "k_proj", "v_proj", "out_proj"), bias="enable_bias", dims=even_head_dim
        ),
        mlp=plain("fc1", "fc2", scope="", inner="ffn_dim", bias="enable_bias"),
        norms=("self_attn_layer_norm", "final_layer_norm"),
        norm_kind=_opt_norms,
        inner="decoder.",
        embed_width=_opt_width,
        last_norm="",
        extra=_opt_extra,
    ),
    Family(
        types=("xglm",),
        attention=gqa(
            names=("q_proj", "k_proj", "v_proj", "out_proj"), bias=True, dims=even_head_dim
        ),
        mlp=plain("fc1", "fc2", scope="", inner="ffn_dim", bias=True),
        norms=("self_attn_layer_norm", "final_layer_norm"),
        norm_kind="layer",
        last_norm="layer_norm",
    ),
    Family(
        types=("biogpt",),
        attention=gqa(
            names=("q_proj", "k_proj", "v_proj", "out_proj"), bias=True, dims=even_head_dim
        ),
        mlp=plain("fc1", "fc2", scope="", bias=True),
        norms=("self_attn_layer_norm", "final_layer_norm"),
        norm_kind="layer",
        root="biogpt",
        last_norm="layer_norm",
        head="output_projection",
        extra=lambda config, _, s: s.embedding(
            "embed_positions",
            config.max_position_embeddings + 2,
            config.hidden_size,
            split="replicated",
        ),
    ),
)
