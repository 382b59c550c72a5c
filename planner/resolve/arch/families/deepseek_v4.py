"""DeepSeek-V4: keys and values compressed over spans of tokens."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import depth
from planner.resolve.arch.mlp import moe, shared_total
from planner.resolve.arch.residual import hyper_connections, stream_head
from planner.resolve.arch.sheet import Plan, Sheet

V4_TYPES = {
    0: "sliding_attention",
    4: "compressed_sparse_attention",
    128: "heavily_compressed_attention",
}


def _v4_plan(config: Config) -> list[Plan]:
    n, listed = depth(config), config.get("layer_types")
    ratios = config.get("compress_ratios")
    if listed is None and ratios is not None:
        listed = [V4_TYPES[ratio] for ratio in ratios[:n]]
    if listed is None:
        listed = [V4_TYPES[4 if i % 2 and i >= 2 else 128] for i in range(n)]
        # the interleave restarts behind the first two layers
        listed[2:] = [V4_TYPES[4 if i % 2 else 128] for i in range(max(n - 2, 0))]
    plans = []
    for kind in listed[:n]:
        local = kind == "sliding_attention"
        mixer, span = ("sliding", config.sliding_window) if local else ("mla", None)
        plans.append(Plan(mixer, span, "moe", kind))
    return plans


def _v4_rate(config: Config, kind: str) -> int:
    rates = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
    rates.update(config.get("compress_rates", {}))
    short = {"compressed_sparse_attention": "csa", "heavily_compressed_attention": "hca"}[kind]
    return int(config.get(f"compress_rate_{short}") or rates[kind])


def _v4_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """One shared key-value head, compressed over spans of tokens but for a sliding window."""
    s = sheet.at("self_attn", "attention")
    h, q, d, kind = config.hidden_size, config.num_attention_heads, config.head_dim, plan.tag
    s.param("sinks", q, split="column")
    s.linear("q_a_proj", h, config.q_lora_rank, split="replicated")
    s.norm("q_a_norm", config.q_lora_rank)
    s.linear("q_b_proj", config.q_lora_rank, q * d)
    s.linear("kv_proj", h, d, split="replicated")
    s.norm("kv_norm", d)
    wide = config.o_groups * config.o_lora_rank
    s.linear("o_a_proj", q * d // config.o_groups, wide)
    s.linear("o_b_proj", wide, h, split="row")
    cached = d
    if kind != "sliding_attention":
        rate = _v4_rate(config, kind)
        sparse = kind == "compressed_sparse_attention"
        c, times = s.at("compressor"), 2 if sparse else 1
        c.param("position_bias", rate, times * d)
        c.linear("kv_proj", h, times * d, split="replicated")
        c.linear("gate_proj", h, times * d, split="replicated")
        c.norm("kv_norm", d)
        cached = d // rate
        if sparse:
            x, n, w = c.at("indexer"), config.index_n_heads, config.index_head_dim
            x.param("position_bias", rate, 2 * w)
            x.linear("kv_proj", h, 2 * w, split="replicated")
            x.linear("gate_proj", h, 2 * w, split="replicated")
            x.norm("kv_norm", w)
            x.linear("q_b_proj", config.q_lora_rank, n * w, split="replicated")
            x.linear("scorer.weights_proj", h, n, split="replicated")
            sheet.layer["indexer_elements_per_token"] = w // rate
    sheet.layer.update(
        mixer=plan.mixer,
        num_attention_heads=q,
        num_key_value_heads=1,
        head_dim=d,
        v_head_dim=d,
        q_lora_rank=config.q_lora_rank,
        kv_elements_per_token=cached,
        kv_expanded_elements_per_token=cached,
    )


FAMILIES = (
    Family(
        types=("deepseek_v4",),
        attention=_v4_attention,
        mlp=moe(shared=shared_total, shared_bias="mlp_bias"),
        plan=_v4_plan,
        around=hyper_connections,
        extra=stream_head,
    ),
)
