"""GLM-5-next and Mistral Large 4: latent attention with indexers of their own."""

from __future__ import annotations

from planner.resolve.arch.attention import heads, mla, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.families.mla import (
    EXPERTS,
    hyper_connections,
    indexer,
    indexer_types,
)
from planner.resolve.arch.family import Family, after_dense, depth, layer_types
from planner.resolve.arch.mlp import gated
from planner.resolve.arch.recurrent import kimi_delta
from planner.resolve.arch.sheet import Plan, Sheet


def _glm_plan(config: Config) -> list[Plan]:
    n = depth(config)
    types = layer_types(config, lambda i: "linear_attention" if i % 4 != 3 else "indexed_attention")
    listed = config.get("mlp_layer_types") or ["dense" if i < 3 else "sparse" for i in range(n)]
    return [
        Plan(
            "linear" if kind == "linear_attention" else "full",
            None,
            "moe" if mlp == "sparse" else "dense",
            index,
        )
        for kind, mlp, index in zip(types, listed, indexer_types(config), strict=False)
    ]


def _pooled_indexer(config: Config, plan: Plan, s: Sheet) -> None:
    """An indexer whose keys are pooled over spans of tokens."""
    indexer(config, plan, s)
    if plan.tag != "shared":
        x, d, span = s.at("indexer"), config.index_head_dim, int(config.index_kpool)
        x.param("index_kpool_compress_ape", span, d)
        x.param("index_kpool_compress_gate", d, config.hidden_size)
        s.layer["indexer_elements_per_token"] = d // span


def _mistral_plan(config: Config) -> list[Plan]:
    n, step = depth(config), int(config.get("no_rope_layer_interval", 4))
    rotary = config.get("no_rope_layers") or [int((i + 1) % step != 0) for i in range(n)]
    sources = config.get("kv_source_layers") or list(range(n))
    return [
        Plan(mlp=kind, tag=(index, bool(rotary[i]), sources[i] != i))
        for i, (kind, index) in enumerate(
            zip(after_dense()(config), indexer_types(config), strict=False)
        )
    ]


def _mistral_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Latent attention with a plain query; layers may read another layer's latent."""
    index, rotary, shared = plan.tag
    s = sheet.at("self_attn", "attention")
    h, q, b = config.hidden_size, heads(config), bool(config.get("attention_bias"))
    wide = config.qk_nope_head_dim + config.qk_rope_head_dim
    rope = config.qk_rope_head_dim if rotary else 0
    rank, v = config.kv_lora_rank, config.v_head_dim
    if not shared:
        s.linear("kv_a_proj_with_mqa", h, rank + rope, bias=b, split="replicated")
        s.norm("kv_a_layernorm", rank)
    s.linear("kv_b_proj", rank, q * (wide - rope + v))
    s.linear("o_proj", q * v, h, bias=b, split="row")
    s.linear("q_proj", h, q * wide)
    for name in ("scale", "bias"):
        s.param(f"softmax_scaling.{name}", q, split="column")
    if index != "shared":
        x, n, d = s.at("indexer"), config.index_n_heads, config.index_head_dim
        x.linear("wq_b", h, n * d, split="replicated")
        x.linear("wk", h, d, split="replicated")
        x.norm("k_norm", d, "layer")
        x.linear("weights_proj", h, n, split="replicated")
        x.norm("q_input_norm", h, "layer")
        for name in ("scale", "bias"):
            x.param(f"softmax_scaling.{name}", n)
        sheet.layer["indexer_elements_per_token"] = d
    note_attention(
        sheet,
        plan._replace(mixer="mla"),
        q=q,
        kv=q,
        dim=wide,
        v_dim=v,
        # Engines keep one page size: a layer without rotary positions takes the same room.
        cached=0 if shared else rank + config.qk_rope_head_dim,
        kv_expanded_elements_per_token=0 if shared else q * (wide + v),
        kv_lora_rank=rank,
        qk_rope_head_dim=rope,
        kv_shared=shared,
        attention_bias=b,
    )


FAMILIES = (
    Family(
        types=("glm5_next_text",),
        attention={"full": mla(extra=_pooled_indexer), "linear": kimi_delta(flat=True)},
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=_glm_plan,
        around=hyper_connections,
    ),
    Family(
        types=("mistral_large4_text",),
        attention=_mistral_attention,
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=_mistral_plan,
    ),
)
