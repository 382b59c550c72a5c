"""Decoders with multi-head latent attention, with and without a sparse indexer."""

from __future__ import annotations

from planner.resolve.arch.attention import mla
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import (
    Family,
    after_dense,
    by_layer,
    depth,
)
from planner.resolve.arch.mlp import gated, moe, shared_total, write_gated
from planner.resolve.arch.sheet import Plan, Sheet

EXPERTS = moe(shared=shared_total)


def one_dense(config: Config) -> list[str]:
    """One dense layer, then experts, unless the config lists the layers."""
    if config.get("mlp_layer_types") is not None:
        return after_dense()(config)
    return ["dense" if i == 0 else "moe" for i in range(depth(config))]


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


def _longcat_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Two attention and dense parts round one mixture with experts that compute nothing."""
    h = config.hidden_size
    for j in range(2):
        mla(scope=f"self_attn.{j}", qk_head_dim=config.get("qk_head_dim"))(config, plan, sheet)
        write_gated(sheet.at(f"mlps.{j}", "mlp"), h, int(config.ffn_hidden_size))
        sheet.norm(f"input_layernorm.{j}", h)
        sheet.norm(f"post_attention_layernorm.{j}", h)
    e, idle, width = (
        config.n_routed_experts,
        config.zero_expert_num or 0,
        config.expert_ffn_hidden_size,
    )
    s = sheet.at("mlp", "mlp")
    s.experts("experts.gate_up_proj", e + idle, h, 2 * width)
    s.experts("experts.down_proj", e, width, h)
    s.linear(
        "router.classifier",
        h,
        e + idle,
        role="router",
        split="replicated",
        bias=bool(config.get("router_bias", False)),
    )
    for key in ("kv_elements_per_token", "kv_expanded_elements_per_token"):
        sheet.layer[key] *= 2
    sheet.layer.update(
        mlp="moe",
        intermediate_size=2 * config.ffn_hidden_size,
        num_experts=e,
        num_experts_per_tok=config.moe_topk,
        moe_intermediate_size=width,
    )


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


def hyper_connections(config: Config, _: Plan, sheet: Sheet) -> None:
    """Manifold-constrained hyper-connections round attention and experts."""
    n = int(config.hc_mult)
    mixes = n * n + 2 * n
    for name in ("attn_hc", "ffn_hc"):
        s = sheet.at(name, "attention" if name == "attn_hc" else "mlp")
        s.param("fn", mixes, n * config.hidden_size)
        s.param("base", mixes)
        s.param("scale", 3)


def _v4_head(config: Config, _: Plan, s: Sheet) -> None:
    n = int(config.hc_mult)
    s.param("hc_head.hc_fn", n, n * config.hidden_size, role="other")
    s.param("hc_head.hc_base", n, role="other")
    s.param("hc_head.hc_scale", 1, role="other")


FAMILIES = (
    Family(
        types=("deepseek_v2",),
        attention=mla(),
        mlp={
            "dense": gated(bias="mlp_bias"),
            "moe": moe(shared=shared_total, shared_bias="mlp_bias"),
        },
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("deepseek_v3",),
        attention=mla(),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm4_moe_lite",),
        attention=mla(),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(one_dense),
    ),
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
    Family(types=("minicpm3",), attention=mla(), mlp=gated(bias="mlp_bias")),
    Family(types=("youtu",), attention=mla(), mlp=gated(bias="mlp_bias")),
    Family(
        types=("longcat_flash",),
        attention=_longcat_layer,
        mlp={},
        plan=lambda config: [Plan(mlp="none")] * int(config.num_layers),
        norms=(),
    ),
    Family(
        types=("deepseek_v4",),
        attention=_v4_attention,
        mlp=moe(shared=shared_total, shared_bias="mlp_bias"),
        plan=_v4_plan,
        around=hyper_connections,
        extra=_v4_head,
    ),
)
