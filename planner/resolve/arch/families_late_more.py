"""Further younger families, and CTRL and the first GPT."""

from __future__ import annotations

from planner.resolve.arch.attention import (
    even_head_dim,
    fused_qkv,
    gqa,
    head_dim,
    heads,
    kv_heads,
)
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import (
    PRE_NORM,
    Family,
    all_moe,
    by_layer,
    depth,
    every,
    layer_types,
    windowed,
)
from planner.resolve.arch.mlp import (
    fused_gated,
    gated,
    moe,
    plain,
)
from planner.resolve.arch.recurrent import short_conv
from planner.resolve.arch.sheet import Plan, Sheet


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


def _flint_types(config: Config) -> list[str]:
    last = depth(config) - 1
    return layer_types(
        config,
        lambda i: "full_attention" if i < 2 or i % 4 == 1 or i == last else "sliding_attention",
    )


def _flint_mlps(config: Config) -> list[str]:
    dense = config.get("mlp_only_layers")
    dense = {0, 1} if dense is None else set(dense)
    step = int(config.decoder_sparse_step)
    return ["dense" if i in dense or (i + 1) % step else "moe" for i in range(depth(config))]


def _modernbert_plan(config: Config) -> list[Plan]:
    step = int(config.get("global_attn_every_n_layers", 3))
    types = layer_types(config, lambda i: "sliding_attention" if i % step else "full_attention")
    span = config.local_attention // 2 if config.get("local_attention") else None
    return [
        Plan("sliding" if local and span else "full", span if local else None, "dense", i == 0)
        for i, local in enumerate(kind == "sliding_attention" for kind in types)
    ]


def _modernbert_extra(config: Config, _: Plan, s: Sheet) -> None:
    kind = "layer" if config.get("norm_bias") else "layer_nobias"
    s.norm("embeddings.norm", config.hidden_size, kind)


def _modernbert_head(config: Config, _: Plan, s: Sheet) -> None:
    h, kind = config.hidden_size, "layer" if config.get("norm_bias") else "layer_nobias"
    s.linear("lm_head.dense", h, h, bias=bool(config.get("classifier_bias")), role="lm_head")
    s.norm("lm_head.norm", h, kind, role="lm_head")


def _doge_residuals(config: Config, _: Plan, s: Sheet) -> None:
    s.param("input_residual", config.hidden_size)
    s.param("post_attention_residual", config.hidden_size)


def _doge_mask(config: Config, _: Plan, s: Sheet) -> None:
    g = kv_heads(config)
    s.param("A", g, split="kv")
    s.linear("dt_proj", g * head_dim(config), g, bias=bool(config.get("attention_bias")))


def _doge_experts(config: Config, _: Plan, s: Sheet) -> None:
    """Experts of one row each, found by product keys."""
    if config.get("is_moe"):
        e = int(config.num_experts)
        s.linear("router_gate", config.hidden_size, 2 * int(e**0.5), role="mlp")
        s.embedding("down_embed", e, config.hidden_size, role="mlp", split="replicated")
        s.embedding("up_embed", e, config.hidden_size, role="mlp", split="replicated")


def _sparse_index(config: Config, plan: Plan, s: Sheet) -> None:
    """MiniMax-M3's block index, in its sparse layers."""
    if plan.tag == "minimax_m3_sparse":
        own = config.get("sparse_attention_config", {})
        n = int(own.get("sparse_num_index_heads", config.get("index_n_heads", 0)))
        d = int(own.get("sparse_index_dim", config.get("index_head_dim", 0)))
        x, h = s.at("indexer"), config.hidden_size
        x.linear("q_proj", h, n * d, split="replicated")
        x.linear("k_proj", h, d, split="replicated")
        x.norm("q_norm", d)
        x.norm("k_norm", d)
        s.layer["indexer_elements_per_token"] = d


def _minimax_m3_plan(config: Config) -> list[Plan]:
    own, n = config.get("sparse_attention_config", {}), depth(config)
    types = config.get("layer_types")
    if types is None and "sparse_attention_freq" in own:
        types = [
            "minimax_m3_sparse" if x else "full_attention" for x in own["sparse_attention_freq"]
        ]
    kinds = config.get("mlp_layer_types")
    if kinds is None and config.get("moe_layer_freq") is not None:
        kinds = ["sparse" if x else "dense" for x in config.moe_layer_freq]
    types = types or ["full_attention"] * n
    kinds = kinds or ["sparse"] * n
    return [
        Plan("full", None, "moe" if kind == "sparse" else "dense", name)
        for name, kind in zip(types[:n], kinds[:n], strict=True)
    ]


def _m3_shared(config: Config, _: Plan, p: Sheet) -> None:
    width = int(config.shared_intermediate_size)
    p.linear("gate_up_proj", config.hidden_size, 2 * width)
    p.linear("down_proj", width, config.hidden_size, split="row")


FAMILIES = (
    Family(
        types=("kolibri1",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp=moe(shared="shared_expert_intermediate_size"),
        plan=windowed(all_moe, types=lambda config: layer_types(config, every(5))),
        norms=(*PRE_NORM, "post_self_attn_layernorm", "post_mlp_layernorm"),
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
    Family(
        types=("flint",),
        attention=gqa(bias="attention_bias", qk_norm="head", sinks=True),
        mlp={
            "dense": gated(),
            "moe": moe(shared="shared_expert_intermediate_size", shared_scope="shared_expert"),
        },
        plan=windowed(_flint_mlps, types=_flint_types),
    ),
    Family(
        types=("aria_text",),
        attention=gqa(bias="attention_bias"),
        mlp=moe(
            router="router",
            inner="intermediate_size",
            flipped=True,
            shared=lambda config: int(config.intermediate_size * config.moe_num_shared_experts),
            shared_bias="mlp_bias",
        ),
        plan=by_layer(all_moe),
    ),
    Family(
        types=("minimax_m3_vl_text",),
        attention=gqa(qk_norm="head", extra=_sparse_index),
        mlp={
            "dense": fused_gated(inner="dense_intermediate_size"),
            "moe": moe(
                inner="intermediate_size",
                shared="shared_intermediate_size",
                shared_block=_m3_shared,
            ),
        },
        plan=_minimax_m3_plan,
    ),
    Family(
        types=("modernbert-decoder",),
        attention=gqa(
            scope="attn", names=("q_proj", "k_proj", "v_proj", "Wo"), bias="attention_bias"
        ),
        mlp=fused_gated(up="Wi", down="Wo", bias="mlp_bias"),
        plan=_modernbert_plan,
        norms=lambda _, plan: ("mlp_norm",) if plan.tag else ("attn_norm", "mlp_norm"),
        norm_kind=lambda config: "layer" if config.get("norm_bias") else "layer_nobias",
        embed="embeddings.tok_embeddings",
        last_norm="final_norm",
        head="decoder",
        head_bias="decoder_bias",
        extra=_modernbert_extra,
        outside=_modernbert_head,
    ),
    Family(
        types=("doge",),
        attention=gqa(bias="attention_bias", qk_norm="head", extra=_doge_mask),
        mlp=gated(bias="mlp_bias", extra=_doge_experts),
        around=_doge_residuals,
    ),
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
