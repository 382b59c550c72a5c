"""GLM's dense decoders, ChatGLM to GLM-OCR."""

from __future__ import annotations

from planner.resolve.arch.attention import fused_qkv, gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, Family
from planner.resolve.arch.mlp import fused_gated

GLM4_NORMS = (*PRE_NORM, "post_self_attn_layernorm", "post_mlp_layernorm")


def _chatglm_kv(config: Config) -> int:
    if config.get("multi_query_attention"):
        return int(config.multi_query_group_num)
    return int(config.num_attention_heads)


FAMILIES = (
    Family(
        types=("chatglm",),
        attention=fused_qkv(
            scope="self_attention",
            qkv="query_key_value",
            out="dense",
            bias=lambda config: bool(config.add_qkv_bias or config.add_bias_linear),
            out_bias="add_bias_linear",
            dims=lambda config: int(config.kv_channels),
            kv=_chatglm_kv,
        ),
        mlp=fused_gated(
            inner="ffn_hidden_size",
            up="dense_h_to_4h",
            down="dense_4h_to_h",
            bias="add_bias_linear",
        ),
        norm_kind=lambda config: "rms" if config.get("rmsnorm", True) else "layer",
        root="transformer",
        inner="encoder.",
        embed="word_embeddings",
        embed_rows="padded_vocab_size",
        head="transformer.output_layer",
        last_norm="final_layernorm",
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
)
