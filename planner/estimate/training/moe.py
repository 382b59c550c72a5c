"""Bytes that a mixture of experts saves for the backward pass, per token and per layer.

Columns: `hidden`, `expert_inner` (width of one expert on the rank), `num_experts`, `top_k`,
`compute`, `train`, `experts_shared` (1.0 where adapted expert weights keep their inputs),
`shared_inner` (summed width of the shared experts on the rank), `routed_share` (share of routed
tokens that this rank computes: 1 without expert parallelism).
"""

from __future__ import annotations

import polars as pl

FP32 = 4.0
INDEX_BYTES = 8.0


def saved_experts() -> pl.Expr:
    """Gate and up, activation and weighted output of every routed token, and the inputs kept.

    Source: grouped-mm experts of transformers (Mixtral, Qwen3-MoE); checked against the training
    oracle to the byte.
    """
    compute, inner = pl.col("compute"), pl.col("expert_inner")
    kept = pl.max_horizontal("train", "experts_shared")
    always = pl.col("hidden") + 3 * inner
    routed = compute * (always + kept * (pl.col("hidden") + inner))
    return pl.col("top_k") * pl.col("routed_share") * routed


def saved_router() -> pl.Expr:
    """Router probabilities, the chosen ones, and the permutation there and back."""
    each = 2 * FP32 + 4 * INDEX_BYTES
    return FP32 * pl.col("num_experts") + FP32 + each * pl.col("top_k")


def saved_shared_expert() -> pl.Expr:
    """A gated MLP beside the routed experts."""
    kept = pl.max_horizontal("train", "product_shared")
    return pl.col("compute") * pl.col("shared_inner") * (3.0 + kept)


def saved_moe() -> pl.Expr:
    """All of a mixture-of-experts block."""
    block = saved_experts() + saved_router() + saved_shared_expert()
    return pl.when(pl.col("mlp") == "moe").then(block).otherwise(0.0)


def moe_backward() -> pl.Expr:
    """Live bytes beyond the saved ones: gradients of the product and of both of its factors.

    The weighted outputs are freed by then; summing them in fp32 may need more where experts are
    narrow. transformers before 5 ran one expert after the other,
    so only one expert's share of the tokens is in work.
    """
    compute, inner = pl.col("compute"), pl.col("expert_inner")
    kept = pl.max_horizontal("train", "experts_shared")
    factors = inner * (3.0 - kept)
    weighted = 3 * FP32 * pl.col("hidden")
    gated = compute * (factors - pl.col("hidden"))
    at_once = pl.col("top_k") * pl.col("routed_share") * pl.max_horizontal(gated, weighted)
    looped = pl.col("top_k") * compute * factors / pl.col("num_experts").clip(1)
    busy = pl.when("experts_looped").then(looped).otherwise(at_once)
    return pl.when(pl.col("mlp") == "moe").then(busy).otherwise(0.0)


def adapted_expert_weights() -> pl.Expr:
    """Bytes of one layer's expert weights that LoRA on fused experts materialises and keeps.

    peft builds the adapted weight of a fused expert tensor before it multiplies, so a layer keeps
    a full copy of its experts' weights whatever the number of tokens, and 16-bit copies of both
    adapter factors (rank r for the down projection, 2 r for the fused gate and up).
    """
    weights = 3 * pl.col("num_experts") * pl.col("hidden") * pl.col("expert_inner")
    sides = 3 * pl.col("hidden") + 5 * pl.col("expert_inner")
    factors = pl.col("num_experts") * pl.col("lora_rank") * sides
    adapted = (pl.col("mlp") == "moe") & (pl.col("expert_adapters") > 0)
    return pl.when(adapted).then(pl.col("compute") * (weights + factors)).otherwise(0.0)
