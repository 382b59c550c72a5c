"""Dense decoders with norms, biases or layer patterns of their own."""

from __future__ import annotations

from planner.resolve.arch.attention import even_head_dim, fused_qkv, gqa, head_dim, heads, kv_heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import (
    PRE_NORM,
    Family,
    depth,
    layer_types,
    windowed,
)
from planner.resolve.arch.mlp import fused_gated, gated, plain
from planner.resolve.arch.sheet import Plan, Sheet

GLM4_NORMS = (*PRE_NORM, "post_self_attn_layernorm", "post_mlp_layernorm")


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


def _xielu(_: Config, __: Plan, s: Sheet) -> None:
    """Learned scalars of the xIELU activation."""
    s.param("act_fn.alpha_p", 1)
    s.param("act_fn.alpha_n", 1)


def _lambdas(config: Config, _: Plan, s: Sheet) -> None:
    """The learned weights between the two softmaxes of differential attention."""
    for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"):
        s.param(name, head_dim(config))


FAMILIES = (
    Family(
        types=("apertus",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp=plain(bias="mlp_bias", extra=_xielu),
        norms=("attention_layernorm", "feedforward_layernorm"),
    ),
    Family(
        types=("helium",),
        attention=gqa(bias="attention_bias", out_bias=False, square_out=True),
        mlp=gated(bias="mlp_bias"),
    ),
    Family(
        types=("glm",),
        attention=gqa(bias="attention_bias", out_bias=False),
        mlp=fused_gated(),
    ),
    Family(
        types=("glm4",),
        attention=gqa(bias="attention_bias", out_bias=False),
        mlp=fused_gated(),
        norms=GLM4_NORMS,
    ),
    Family(
        types=("glm4v_text",),
        attention=gqa(bias=True, out_bias=False),
        mlp=fused_gated(),
        norms=GLM4_NORMS,
    ),
    Family(
        types=("glm_image_text",),
        attention=gqa(bias=True, out_bias=False),
        mlp=fused_gated(),
        norms=GLM4_NORMS,
        head_rows="vision_vocab_size",
    ),
    Family(types=("glm_ocr_text",), attention=gqa(), mlp=fused_gated(), norms=GLM4_NORMS),
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
    Family(types=("ernie4_5",), attention=gqa(bias="use_bias"), mlp=gated(bias="use_bias")),
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
    Family(
        types=("phi",),
        attention=gqa(
            names=("q_proj", "k_proj", "v_proj", "dense"),
            bias=True,
            dims=even_head_dim,
            qk_norm="head",
            norm_if="qk_layernorm",
            qk_names=("q_layernorm", "k_layernorm"),
            norm_kind="layer",
        ),
        mlp=plain("fc1", "fc2", bias=True),
        norms=PRE_NORM[:1],
        norm_kind="layer",
        last_norm="final_layernorm",
        head_bias=True,
        parallel=True,
    ),
    Family(
        types=("persimmon",),
        attention=fused_qkv(
            scope="self_attn",
            qkv="query_key_value",
            out="dense",
            qk_norm="head",
            norm_if="qk_layernorm",
            qk_names=("q_layernorm", "k_layernorm"),
            norm_kind="layer",
        ),
        mlp=plain("dense_h_to_4h", "dense_4h_to_h", bias=True),
        norm_kind="layer",
        last_norm="final_layernorm",
    ),
    Family(
        types=("internlm3",),
        attention=gqa(bias="qkv_bias", out_bias="bias"),
        mlp=gated(bias="bias"),
    ),
    Family(
        types=("cwm",),
        attention=gqa(),
        mlp=gated(bias="mlp_bias"),
        plan=windowed(
            types=lambda config: layer_types(
                config, lambda i: "sliding_attention" if i % 4 else "full_attention"
            )
        ),
    ),
    Family(
        types=("hyperclovax",),
        attention=gqa(bias="attention_bias"),
        mlp=gated(bias="mlp_bias"),
        norms=lambda config, _: (
            (*PRE_NORM, "post_norm1", "post_norm2") if config.get("use_post_norm") else PRE_NORM
        ),
    ),
    Family(
        types=("jais2",),
        attention=gqa(bias="attention_bias"),
        mlp=plain(bias="mlp_bias"),
        norm_kind="layer",
    ),
    Family(
        types=("nanochat",),
        attention=gqa(bias="attention_bias"),
        mlp=plain("fc1", "fc2"),
        norm_kind="none",
    ),
    Family(
        types=("diffllama",),
        attention=gqa(bias="attention_bias", extra=_lambdas),
        mlp=gated(bias="mlp_bias"),
    ),
)
