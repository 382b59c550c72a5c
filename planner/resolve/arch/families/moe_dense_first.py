"""Younger families that join known blocks in new ways, and a few old ones of their own kind."""

from __future__ import annotations

from planner.resolve.arch.attention import (
    gqa,
    heads,
    mla,
)
from planner.resolve.arch.config import Config
from planner.resolve.arch.families.mla import EXPERTS, one_dense
from planner.resolve.arch.families.moe import granite_shared
from planner.resolve.arch.family import (
    PRE_NORM,
    Family,
    after_dense,
    all_moe,
    by_layer,
    depth,
    every,
    layer_types,
    windowed,
)
from planner.resolve.arch.mlp import (
    gated,
    moe,
    shared_total,
    write_experts,
    write_gated,
)
from planner.resolve.arch.recurrent import kimi_delta
from planner.resolve.arch.sheet import Plan, Sheet


def _shared(config: Config) -> int:
    return int(config.get("num_shared_experts", 0)) * int(
        config.get("moe_intermediate_size") or config.intermediate_size
    )


def _fourth_full(config: Config) -> list[str]:
    return layer_types(config, lambda i: "sliding_attention" if i % 4 else "full_attention")


def spaced_mlps(config: Config) -> list[str]:
    """Experts from a first layer on, in every so many layers."""
    if config.get("mlp_layer_types") is not None:
        return after_dense()(config)
    first, step = config.get("first_k_dense_replace", 1), config.get("moe_layer_freq", 1)
    return ["moe" if i >= first and i % step == 0 else "dense" for i in range(depth(config))]


def _cohere2_moe_types(config: Config) -> list[str]:
    first = int(config.get("first_k_dense_replace", 0))
    step, early = (
        config.sliding_window_pattern,
        config.get("prefix_dense_sliding_window_pattern", 1),
    )
    return layer_types(
        config,
        lambda i: every(int(early))(i) if i < first else every(int(step))(i - first),
    )


def _head_gate(config: Config, _: Plan, s: Sheet) -> None:
    s.linear("g_proj", config.hidden_size, heads(config))


def _bailing_types(config: Config) -> list[str]:
    return layer_types(config, every(int(config.layer_group_size), "linear_attention"))


def ernie_vl_mlps(config: Config) -> list[str]:
    """Experts from the second layer on, unless the config lists the layers."""
    if config.get("mlp_layer_types") is not None:
        return after_dense()(config)
    return ["dense" if i == 0 else "moe" for i in range(depth(config))]


def _ernie_vl_experts(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Two mixtures side by side: text tokens go to one, image tokens to the other."""
    s = sheet.at("mlp", "mlp")
    widths = config.get("moe_intermediate_size") or [1536, 512]
    counts = config.moe_num_experts
    counts = counts if isinstance(counts, list) else [counts, counts]
    h = config.hidden_size
    for name, width, e in zip(("text_moe", "vision_moe"), widths, counts, strict=False):
        x = s.at(name)
        x.param("gate.weight", e, h, role="router")
        x.param("gate.moe_statics.e_score_correction_bias", 1, e, role="router")
        write_experts(x.at("experts"), e, h, width)
    shared = int(config.moe_num_shared_experts) * int(widths[0])
    if shared:
        bias = bool(config.get("use_bias"))
        write_gated(s.at("shared_experts", "shared_experts"), h, shared, bias=bias)
    sheet.layer.update(
        mlp="moe",
        num_experts=counts[0],
        num_experts_per_tok=config.moe_k,
        moe_intermediate_size=widths[0],
        shared_intermediate_size=shared,
    )


FAMILIES = (
    Family(
        types=("mistral4",),
        attention=mla(),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("axk1",),
        attention=mla(),
        mlp={
            "dense": gated(),
            "moe": moe(
                shared=shared_total,
                extra=lambda config, _, s: s.norm("post_mlp_layernorm", config.hidden_size),
            ),
        },
        plan=by_layer(spaced_mlps),
    ),
    Family(
        types=("cohere2_moe",),
        attention=gqa(bias="attention_bias"),
        mlp={
            "dense": gated(),
            "moe": moe(inner="intermediate_size", shared=_shared),
        },
        norms=("input_layernorm",),
        norm_kind="layer_nobias",
        parallel=True,
        plan=windowed(after_dense(), types=_cohere2_moe_types),
    ),
    Family(
        types=("ernie4_5_vl_moe_text",),
        attention=gqa(bias="use_bias"),
        mlp={"dense": gated(bias="use_bias"), "moe": _ernie_vl_experts},
        plan=by_layer(ernie_vl_mlps),
        norms=PRE_NORM,
    ),
    Family(
        types=("paddleocr_vl_text",), attention=gqa(bias="use_bias"), mlp=gated(bias="use_bias")
    ),
    Family(
        types=("hy_v3",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={
            "dense": gated(bias="mlp_bias"),
            "moe": moe(shared=_shared, shared_bias="mlp_bias"),
        },
        plan=by_layer(one_dense),
    ),
    Family(
        types=("bailing_hybrid",),
        attention={
            "full": mla(extra=_head_gate),
            "linear": kimi_delta(narrow=False),
        },
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=windowed(after_dense(), types=_bailing_types, mixers={"linear_attention": "linear"}),
    ),
    Family(
        types=("granite_swa",),
        attention=gqa(bias="attention_bias", sinks=True),
        mlp=gated(bias="mlp_bias"),
        plan=windowed(types=_fourth_full),
    ),
    Family(
        types=("granitemoe_swa",),
        attention=gqa(bias="attention_bias", sinks=True),
        mlp=moe(scope="block_sparse_moe", router="router", inner="intermediate_size"),
        plan=windowed(all_moe, types=_fourth_full),
        around=granite_shared,
    ),
)
