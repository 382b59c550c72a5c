"""Decoders with an indexer that picks the tokens or blocks to attend to."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa, heads, mla, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, Family
from planner.resolve.arch.layers import (
    after_dense,
    by_layer,
    depth,
    layer_types,
    one_dense,
    spaced_mlps,
)
from planner.resolve.arch.mlp import EXPERTS, fused_gated, gated, moe
from planner.resolve.arch.recurrent import kimi_delta
from planner.resolve.arch.residual import hyper_connections, plain_connections, stream_head
from planner.resolve.arch.sheet import Plan, Sheet


def indexer(config: Config, plan: Plan, s: Sheet) -> None:
    """The lightning indexer of DeepSeek sparse attention, with a key cache of its own."""
    if plan.tag == "shared":
        return
    x = s.at("indexer")
    h, n, d = config.hidden_size, config.index_n_heads, config.index_head_dim
    x.linear("wq_b", config.q_lora_rank, n * d, split="replicated")
    x.linear("wk", h, d, split="replicated")
    x.norm("k_norm", d, "layer")
    x.linear("weights_proj", h, n, split="replicated")
    s.layer["indexer_elements_per_token"] = d


def indexer_types(config: Config) -> list[str]:
    """Which layers run an indexer (`full`) and which reuse the choice of the one before."""
    listed = config.get("indexer_types")
    if listed is not None:
        return list(listed)
    pattern = config.get("index_topk_pattern")
    if pattern is not None:
        return [{"F": "full", "S": "shared"}.get(letter, letter) for letter in pattern]
    step = max(int(config.get("index_topk_freq", 1)), 1)
    offset = int(config.get("index_skip_topk_offset", 2))
    return [
        "full" if max(i - offset + 1, 0) % step == 0 else "shared" for i in range(depth(config))
    ]


def _glm_dsa_plan(config: Config) -> list[Plan]:
    kinds = after_dense()(config)
    return [
        Plan(mlp=kind, tag=index) for kind, index in zip(kinds, indexer_types(config), strict=False)
    ]


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


def _hy4_plan(config: Config) -> list[Plan]:
    listed = config.get("indexer_types")
    return [
        Plan(
            mlp=kind,
            tag=listed[i] if listed else "full" if i == 0 or (i - 1) % 4 == 0 else "shared",
        )
        for i, kind in enumerate(one_dense(config))
    ]


def _hy4_attention(config: Config, plan: Plan, s: Sheet) -> None:
    indexer(config, plan, s)
    s.linear("gate_proj", config.hidden_size, heads(config) * config.v_head_dim)
    s.param("sinks", heads(config), split="column")


def _axk2_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Latent attention whose query and gate come from one projection."""
    s = sheet.at("self_attn", "attention")
    h, q, b = config.hidden_size, heads(config), bool(config.get("attention_bias"))
    nope, rope, v = config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim
    rank, q_rank = config.kv_lora_rank, config.q_lora_rank
    s.linear("q_a_proj", h, q_rank, bias=b, split="replicated")
    s.norm("q_a_layernorm", q_rank)
    s.linear("q_gate_proj", 2 * q_rank, q * (nope + rope + v))
    s.linear("kv_a_proj_with_mqa", h, rank + rope, bias=b, split="replicated")
    s.norm("kv_a_layernorm", rank)
    s.linear("kv_b_proj", rank, q * (nope + v))
    s.linear("o_proj", q * v, h, bias=b, split="row")
    indexer(config, plan, s)
    note_attention(
        sheet,
        plan._replace(mixer="mla"),
        q=q,
        kv=q,
        dim=nope + rope,
        v_dim=v,
        cached=rank + rope,
        kv_expanded_elements_per_token=q * (nope + rope + v),
        kv_lora_rank=rank,
        q_lora_rank=q_rank,
        qk_rope_head_dim=rope,
    )


def _gated_norms(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Norms with a low-rank gate; a dense layer's second norm is plain."""
    h, r = config.hidden_size, config.gated_norm_rank
    for name in PRE_NORM:
        if name == PRE_NORM[1] and plan.mlp == "dense":
            sheet.norm(name, h)
            continue
        s = sheet.at(name, "norm")
        s.norm("norm", h)
        s.linear("mlp.fc1", h, r, split="replicated")
        s.linear("mlp.fc2", r, h, split="replicated")
    sheet.layer["norms"] = 2


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
        types=("deepseek_v32",),
        attention=mla(extra=indexer),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm_moe_dsa",),
        attention=mla(extra=indexer),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=_glm_dsa_plan,
    ),
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
    Family(
        types=("hy_v4",),
        attention=mla(extra=_hy4_attention),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=_hy4_plan,
        around=plain_connections,
        extra=stream_head,
    ),
    Family(
        types=("axk2",),
        attention=_axk2_attention,
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(spaced_mlps),
        norms=(),
        around=_gated_norms,
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
)
