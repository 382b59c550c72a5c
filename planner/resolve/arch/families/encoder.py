"""Encoders: BERT and its kin, DeBERTa, ALBERT, ModernBERT and its decoder, gated rotary ones."""

from __future__ import annotations

from functools import partial

from planner.resolve.arch.attention import fused_qkv, gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.families.encoder_parts import (
    albert_norms,
    bert_like,
    deberta_attention,
    deberta_extra,
    encoder_head,
    gated_encoder,
    masked,
    modern_head,
    modern_kind,
    modern_plan,
    mpnet_extra,
    shared_layers,
    sharing,
    uncached,
    word_table,
)
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import layer_types
from planner.resolve.arch.mlp import fused_gated, plain
from planner.resolve.arch.sheet import Plan, Sheet

_BARE_TABLE = partial(word_table, normed=False)


_ROBERTA_HEAD = partial(
    encoder_head, transform="lm_head.", norm="layer_norm", pooled=("base",), dense=("sequence",)
)


def _modern_norms(config: Config, plan: Plan) -> tuple[str, ...]:
    return ("mlp_norm",) if plan.tag else ("attn_norm", "mlp_norm")


def _modern_table(config: Config, _: Plan, s: Sheet) -> None:
    s.norm("embeddings.norm", config.hidden_size)


def _modernbert_plan(config: Config) -> list[Plan]:
    step = int(config.get("global_attn_every_n_layers", 3))
    types = layer_types(config, lambda i: "sliding_attention" if i % step else "full_attention")
    span = config.local_attention // 2 if config.get("local_attention") else None
    return [
        Plan("sliding" if local and span else "full", span if local else None, "dense", i == 0)
        for i, local in enumerate(kind == "sliding_attention" for kind in types)
    ]


def _modernbert_head(config: Config, _: Plan, s: Sheet) -> None:
    h = config.hidden_size
    s.linear("lm_head.dense", h, h, bias=bool(config.get("classifier_bias")), role="lm_head")
    s.norm("lm_head.norm", h, modern_kind(config), role="lm_head")


FAMILIES = (
    bert_like(("bert",), encoder_head()),
    bert_like(("ernie",), encoder_head(), root="ernie"),
    bert_like(
        ("megatron-bert",),
        encoder_head(),
        norms=("attention.ln", "ln"),
        extra=_BARE_TABLE,
        last_norm="encoder.ln",
    ),
    bert_like(
        ("roberta", "xlm-roberta", "camembert", "data2vec-text"), _ROBERTA_HEAD(), root="roberta"
    ),
    bert_like(
        ("xlm-roberta-xl",),
        _ROBERTA_HEAD(),
        root="roberta",
        norms=("attention.self_attn_layer_norm", "LayerNorm"),
        extra=_BARE_TABLE,
        last_norm="encoder.LayerNorm",
    ),
    bert_like(
        ("mpnet",),
        _ROBERTA_HEAD(),
        names=("attn.q", "attn.k", "attn.v", "attn.o"),
        norms=("attention.LayerNorm", "output.LayerNorm"),
        root="mpnet",
        extra=mpnet_extra,
    ),
    bert_like(
        ("electra",),
        encoder_head(transform="generator_predictions.", pooled=(), dense=("sequence",)),
        root="electra",
    ),
    bert_like(
        ("deberta-v2",),
        encoder_head(pooled=("sequence",)),
        root="deberta",
        attention=deberta_attention,
        extra=deberta_extra,
    ),
    Family(
        types=("distilbert",),
        attention=uncached(
            gqa(scope="attention", names=("q_lin", "k_lin", "v_lin", "out_lin"), bias=True)
        ),
        mlp=plain("lin1", "lin2", scope="ffn", inner="hidden_dim", bias=True),
        norms=("sa_layer_norm", "output_layer_norm"),
        norm_kind="layer",
        root="distilbert",
        embed="embeddings.word_embeddings",
        stack="transformer.layer",
        last_norm="",
        head="vocab_projector",
        head_bias=masked,
        has_head=masked,
        extra=word_table,
        outside=encoder_head(pooled=(), dense=("sequence",)),
    ),
    Family(
        types=("albert",),
        attention=sharing(
            uncached(gqa(scope="attention", names=("query", "key", "value", "dense"), bias=True))
        ),
        mlp=sharing(plain("ffn", "ffn_output", scope="", bias=True)),
        plan=shared_layers,
        norms=(),
        norm_kind="layer",
        root="albert",
        embed="embeddings.word_embeddings",
        embed_width="embedding_size",
        stack="encoder.albert_layer_groups",
        last_norm="",
        head="predictions.decoder",
        head_bias=masked,
        has_head=masked,
        extra=word_table,
        around=albert_norms,
        outside=encoder_head(transform="predictions."),
    ),
    Family(
        types=("modernbert",),
        attention=uncached(fused_qkv(scope="attn", qkv="Wqkv", out="Wo", bias="attention_bias")),
        mlp=fused_gated(up="Wi", down="Wo", bias="mlp_bias"),
        plan=modern_plan,
        norms=_modern_norms,
        norm_kind=modern_kind,
        embed="embeddings.tok_embeddings",
        last_norm="final_norm",
        head="decoder",
        head_bias=lambda config: masked(config) and bool(config.get("decoder_bias")),
        has_head=masked,
        extra=_modern_table,
        outside=modern_head,
    ),
    gated_encoder(
        ("nomic_bert",),
        encoder_head(norm="layer_norm", pooled=(), dense=("sequence",)),
        bias=False,
        down_bias=False,
    ),
    gated_encoder(
        ("gte",),
        encoder_head(transform="lm_head.", norm="layer_norm", pooled=(), dense=("sequence",)),
        bias=True,
        down_bias=True,
    ),
    Family(
        types=("modernbert-decoder",),
        attention=gqa(
            scope="attn", names=("q_proj", "k_proj", "v_proj", "Wo"), bias="attention_bias"
        ),
        mlp=fused_gated(up="Wi", down="Wo", bias="mlp_bias"),
        plan=_modernbert_plan,
        norms=_modern_norms,
        norm_kind=modern_kind,
        embed="embeddings.tok_embeddings",
        last_norm="final_norm",
        head="decoder",
        head_bias="decoder_bias",
        extra=_modern_table,
        outside=_modernbert_head,
    ),
)
