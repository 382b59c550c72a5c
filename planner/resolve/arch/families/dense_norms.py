"""Dense decoders after Llama with norms, gates or learned vectors of their own."""

from __future__ import annotations

from planner.resolve.arch.attention import (
    even_head_dim,
    gqa,
    head_dim,
    heads,
    kv_heads,
    output_gate,
)
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, SANDWICH, Family
from planner.resolve.arch.layers import (
    depth,
    every,
    exaone_types,
    exaone_window,
    fourth_from_last_full,
    layer_types,
    same_window,
    windowed,
)
from planner.resolve.arch.mlp import gated
from planner.resolve.arch.sheet import Plan, Sheet


def _cross_gates(_: Config, __: Plan, s: Sheet) -> None:
    """The learned gates round a cross-attention layer, which caches image tokens only."""
    outer = s.outer()
    outer.param("cross_attn_attn_gate", 1, role="attention")
    outer.param("cross_attn_mlp_gate", 1, role="attention")
    s.layer["kv_elements_per_token"] = 0


def _mllama_plan(config: Config) -> list[Plan]:
    crossing = set(config.get("cross_attention_layers", [3, 8, 13, 18, 23, 28, 33, 38]))
    return [Plan("cross" if i in crossing else "full") for i in range(depth(config))]


def _layerwise_norms(config: Config, _: Plan, s: Sheet) -> None:
    """StableLM's norms of every single head, without biases."""
    if config.get("qk_layernorm"):
        for name, count in (("q_layernorm", heads(config)), ("k_layernorm", kv_heads(config))):
            for j in range(count):
                s.norm(f"{name}.norms.{j}", head_dim(config), "layer_nobias")


def _lambdas(config: Config, _: Plan, s: Sheet) -> None:
    """The learned weights between the two softmaxes of differential attention."""
    for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"):
        s.param(name, head_dim(config))


def _wide_norms(config: Config, _: Plan, s: Sheet) -> None:
    """A layer norm of each head with its own weights."""
    for name, count in (("q_norm", heads(config)), ("k_norm", kv_heads(config))):
        for part in ("weight", "bias"):
            s.param(f"{name}.{part}", count, head_dim(config), kind="norm", role="norm")


def _ada_norm(config: Config, _: Plan, s: Sheet) -> None:
    h = config.hidden_size
    a = s.at("ada_rms_norm", "norm")
    a.linear("linear1", h, 32, split="replicated")
    a.linear("linear2", 32, h, split="replicated")


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


FAMILIES = (
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
        types=("exaone4", "exaone4_5_text"),
        attention=gqa(qk_norm="head"),
        mlp=gated(),
        norms=SANDWICH[1::2],
        plan=windowed(types=exaone_types, window=exaone_window),
    ),
    Family(
        types=("hunyuan_v1_dense", "hunyuan_vl_text"),
        attention=gqa(
            bias="attention_bias", qk_norm="head", qk_names=("query_layernorm", "key_layernorm")
        ),
        mlp=gated(),
    ),
    Family(
        types=("bitnet",),
        attention=gqa(
            bias="attention_bias",
            extra=lambda config, _, s: s.norm("attn_sub_norm", config.hidden_size),
        ),
        mlp=gated(extra=lambda config, _, s: s.norm("ffn_sub_norm", config.intermediate_size)),
    ),
    Family(
        types=("stablelm",),
        attention=gqa(
            bias="use_qkv_bias", out_bias=False, dims=even_head_dim, extra=_layerwise_norms
        ),
        mlp=gated(),
        norms=lambda config, _: PRE_NORM[: 1 if config.get("use_parallel_residual") else 2],
        norm_kind="layer",
        parallel="use_parallel_residual",
    ),
    Family(types=("orion",), attention=gqa(), mlp=gated(), norm_kind="layer"),
    Family(
        types=("hyperclovax",),
        attention=gqa(bias="attention_bias"),
        mlp=gated(bias="mlp_bias"),
        norms=lambda config, _: (
            (*PRE_NORM, "post_norm1", "post_norm2") if config.get("use_post_norm") else PRE_NORM
        ),
    ),
    Family(
        types=("diffllama",),
        attention=gqa(bias="attention_bias", extra=_lambdas),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(
        types=("chameleon_text",),
        attention=gqa(bias="attention_bias", extra=_wide_norms),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(
        types=("mllama_text_model",),
        attention={
            "full": gqa(),
            "cross": gqa(scope="cross_attn", qk_norm="head", extra=_cross_gates),
        },
        mlp=gated(),
        plan=_mllama_plan,
        embed_rows=lambda config: int(config.vocab_size) + 8,
    ),
    Family(
        types=("voxtral_realtime_text",),
        attention=gqa(),
        mlp=gated(),
        plan=same_window(),
        around=_ada_norm,
    ),
    Family(
        types=("muse_glimmer_text",),
        attention=gqa(bias="attention_bias", extra=output_gate),
        mlp=gated(),
        norms=SANDWICH,
        plan=windowed(types=fourth_from_last_full),
    ),
    Family(
        types=("doge",),
        attention=gqa(bias="attention_bias", qk_norm="head", extra=_doge_mask),
        mlp=gated(bias="mlp_bias", extra=_doge_experts),
        around=_doge_residuals,
    ),
)
