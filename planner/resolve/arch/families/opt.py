"""OPT, XGLM, BioGPT, Kosmos-2's text, CTRL: separate projections with biases, plain MLPs."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.mlp import plain
from planner.resolve.arch.sheet import Plan, Sheet


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
    Family(
        types=("kosmos_2_text_model",),
        attention=gqa(
            names=("q_proj", "k_proj", "v_proj", "out_proj"),
            bias=True,
            dims=even_head_dim,
            extra=lambda config, _, s: s.norm("inner_attn_ln", config.hidden_size),
        ),
        mlp=plain(
            "fc1",
            "fc2",
            scope="ffn",
            inner="ffn_dim",
            bias=True,
            extra=lambda config, _, s: s.norm("ffn_layernorm", config.ffn_dim),
        ),
        norms=("self_attn_layer_norm", "final_layer_norm"),
        norm_kind="layer",
        last_norm="layer_norm",
    ),
    Family(
        types=("ctrl",),
        attention=gqa(
            scope="multi_head_attention",
            names=("Wq", "Wk", "Wv", "dense"),
            bias=True,
            dims=even_head_dim,
        ),
        mlp=plain("0", "2", scope="ffn", inner="dff", bias=True),
        norms=("layernorm1", "layernorm2"),
        norm_kind="layer",
        root="transformer",
        embed="w",
        stack="h",
        last_norm="layernorm",
        head_bias=True,
    ),
)
