"""Families of the last year with parts of their own: gates, adapters, hyper-connections."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa, head_dim, heads, mla, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.families.mla import EXPERTS, indexer, one_dense
from planner.resolve.arch.families.moe_dense_first import spaced_mlps
from planner.resolve.arch.family import (
    PRE_NORM,
    SANDWICH,
    Family,
    by_layer,
    depth,
    layer_types,
    same_window,
    windowed,
)
from planner.resolve.arch.mlp import gated, plain
from planner.resolve.arch.sheet import Plan, Sheet


def _wide_gate(config: Config, _: Plan, s: Sheet) -> None:
    s.linear("gate_proj", config.hidden_size, heads(config) * head_dim(config))


def _glimmer_types(config: Config) -> list[str]:
    last = depth(config) - 1
    return layer_types(
        config, lambda i: "sliding_attention" if (last - i) % 4 else "full_attention"
    )


def _ada_norm(config: Config, _: Plan, s: Sheet) -> None:
    h = config.hidden_size
    a = s.at("ada_rms_norm", "norm")
    a.linear("linear1", h, 32, split="replicated")
    a.linear("linear2", 32, h, split="replicated")


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


def _hy4_connections(config: Config, _: Plan, sheet: Sheet) -> None:
    n = int(config.hc_mult)
    for name in ("attn_hc", "ffn_hc"):
        s = sheet.at(name, "attention" if name == "attn_hc" else "mlp")
        s.param("fn", 2 * n, n * config.hidden_size)
        s.param("base", 2 * n)
        s.param("scale", 2)


def _hy4_head(config: Config, _: Plan, s: Sheet) -> None:
    n = int(config.hc_mult)
    s.param("hc_head.hc_fn", n, n * config.hidden_size, role="other")
    s.param("hc_head.hc_base", n, role="other")
    s.param("hc_head.hc_scale", 1, role="other")


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


FAMILIES = (
    Family(
        types=("muse_glimmer_text",),
        attention=gqa(bias="attention_bias", extra=_wide_gate),
        mlp=gated(),
        norms=SANDWICH,
        plan=windowed(types=_glimmer_types),
    ),
    Family(
        types=("voxtral_realtime_text",),
        attention=gqa(),
        mlp=gated(),
        plan=same_window(),
        around=_ada_norm,
    ),
    Family(
        types=("molmo2_text",),
        attention=gqa(bias="attention_bias", out_bias=False, qk_norm="head"),
        mlp=gated(),
        embed_rows=lambda config: int(config.vocab_size + config.additional_vocab_size),
    ),
    Family(
        types=("cosmos3_edge_text",),
        attention=gqa(bias="attention_bias"),
        mlp=plain("fc1", "fc2", bias="mlp_bias"),
    ),
    Family(
        types=("hy_v4",),
        attention=mla(extra=_hy4_attention),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=_hy4_plan,
        around=_hy4_connections,
        extra=_hy4_head,
    ),
    Family(
        types=("axk2",),
        attention=_axk2_attention,
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(spaced_mlps),
        norms=(),
        around=_gated_norms,
    ),
)
