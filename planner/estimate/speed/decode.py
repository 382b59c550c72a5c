"""One decode step: weights read once, caches read per sequence, launches, joins.

Every group takes the longer of reading and computing; the groups follow one another.
"""

from __future__ import annotations

import polars as pl

from planner.estimate.speed.communication import all_reduce_seconds
from planner.estimate.speed.hardware import (
    computes_in_fp4,
    half_flops,
    matrix_flops,
    weight_bandwidth,
)
from planner.estimate.speed.sums import SPARSE_ATTENTION_TOKENS

_US = 1e-6


def touched_share(tokens: pl.Expr) -> pl.Expr:
    """Share of the routed experts that at least one of `tokens` tokens is sent to.

    `1 - (1 - k / E)^(tokens^s)`: uniform, independent routing for s = 1; tokens of a batch prefer
    the same experts, so that they count as fewer independent ones.
    """
    idle = 1 - pl.col("s_num_experts_per_tok") / pl.col("s_num_experts")
    return 1 - idle.clip(0.0, 1.0).pow(tokens.pow(pl.col("s_expert_spread")))


def pass_tokens() -> pl.Expr:
    """Tokens of one attention rank in one pass: one a sequence, and the drafted ones."""
    return pl.col("s_rank_sequences") * (1 + pl.col("s_drafted"))


def linear_seconds() -> pl.Expr:
    """Attention projections, dense and shared MLPs, split over the tensor-parallel ranks."""
    read = pl.col("s_linear_bytes") / pl.col("s_tp") / weight_bandwidth("linear")
    flops = 2 * pl.col("s_linear_parameters") * pass_tokens() / pl.col("s_tp")
    rate = matrix_flops("linear") * pl.col("s_decode_compute_fraction")
    return pl.max_horizontal(read, flops / rate)


def head_seconds() -> pl.Expr:
    """The output head over the vocabulary, split over the tensor-parallel ranks."""
    read = pl.col("s_head_bytes") / pl.col("s_tp") / weight_bandwidth("head")
    flops = 2 * pl.col("s_head_parameters") * pass_tokens() / pl.col("s_tp")
    return pl.max_horizontal(read, flops / (half_flops() * pl.col("s_decode_compute_fraction")))


def routed_seconds() -> pl.Expr:
    """Routed experts: only those a token of the batch needs, split over all attention ranks."""
    tokens = pass_tokens() * pl.col("s_dp")
    read = pl.col("s_routed_bytes") * touched_share(tokens) / pl.col("s_ranks")
    active = pl.col("s_num_experts_per_tok") / pl.col("s_num_experts")
    flops = 2 * pl.col("s_routed_parameters") * active * tokens / pl.col("s_ranks")
    rate = matrix_flops("routed") * pl.col("s_decode_compute_fraction")
    seconds = pl.max_horizontal(read / routed_bandwidth(), flops / rate)
    return pl.when(pl.col("s_routed_parameters") > 0).then(seconds).otherwise(0.0)


def routed_bandwidth() -> pl.Expr:
    """Bytes per second at which the experts' weights are read."""
    return weight_bandwidth("routed") * pl.col("s_expert_bandwidth_fraction")


def cache_seconds(context: pl.Expr) -> pl.Expr:
    """Reading the caches of one rank's sequences at `context` tokens each, or computing with them.

    K and V heads are split until one is left; an MLA latent is read whole on every rank, its
    absorbed products are split. Sliding layers read their window, indexed layers the chosen
    tokens and all indexer keys; recurrent states are read and written.
    """
    split = pl.max_horizontal(1 / pl.col("s_tp"), 1 / pl.col("s_key_value_heads"))
    local = pl.min_horizontal(context, "s_local_window_tokens")
    latent = attended_tokens(context)
    elements = (
        split * (pl.col("s_global_cache_elements") * context)
        + split * pl.col("s_local_cache_elements") * local
        + pl.col("s_latent_cache_elements") * latent
        + pl.col("s_indexer_elements") * context
    )
    state = pl.col("s_state_bytes") / pl.col("s_tp")
    bandwidth = pl.col("s_memory_bandwidth_bytes_per_second") * pl.col("s_cache_bandwidth_fraction")
    read = (elements * pl.col("s_cache_bytes") + state) / bandwidth
    flops = pl.col("s_latent_pair_flops") * latent / pl.col("s_tp") * (1 + pl.col("s_drafted"))
    compute = flops / (half_flops() * pl.col("s_attention_compute_fraction"))
    return pl.col("s_rank_sequences") * pl.max_horizontal(read, compute)


def attended_tokens(context: pl.Expr) -> pl.Expr:
    """Cached tokens that a query of a latent layer attends to; indexed attention picks some."""
    indexed = pl.col("s_indexed_layers") > 0
    return (
        pl.when(indexed)
        .then(pl.min_horizontal(context, float(SPARSE_ATTENTION_TOKENS)))
        .otherwise(context)
    )


def kernel_seconds() -> pl.Expr:
    """Kernels of one pass that follow one another, at the time a small one takes.

    Products in 4 bits need their inputs quantised by kernels of their own.
    Without CUDA graphs (`enforce_eager`) each launch costs as much as in prefill.
    """
    kinds = {
        "attention_layers": "kernels_attention",
        "latent_layers": "kernels_latent",
        "recurrent_layers": "kernels_recurrent",
        "indexed_layers": "kernels_indexer",
        "expert_layers": "kernels_experts",
        "dense_layers": "kernels_dense",
    }
    count = pl.sum_horizontal(pl.col(f"s_{a}") * pl.col(f"s_{b}") for a, b in kinds.items())
    quantised = pl.col("s_kernels_quantisation") * pl.col("s_num_hidden_layers")
    count = count + pl.when(computes_in_fp4("linear")).then(quantised).otherwise(0.0)
    eager = pl.when("s_eager").then("s_prefill_launch_factor").otherwise(1.0)
    return count * pl.col("s_kernel_us") * pl.col("s_engine_kernel_factor") * eager * _US


def sampling_seconds() -> pl.Expr:
    """Scheduling, sampling and streaming, which grow with the sequences in flight."""
    return pl.col("s_sequences") * pl.col("s_sequence_us") * _US


def step_seconds() -> pl.Expr:
    """One decode pass of the replica at the mean context, without prefill in between.

    Pipeline stages follow one another, each with its part of the sequences, so a pass reads all
    layers; drafting adds a pass of one layer and the head per drafted token.
    """
    context = pl.col("s_input_tokens") + pl.col("s_output_tokens") / 2
    body = linear_seconds() + routed_seconds() + cache_seconds(context) + pl.col("s_kernels")
    joins = all_reduce_seconds(pass_tokens())
    head = head_seconds()
    layer = (body + joins) / pl.col("s_num_hidden_layers")
    drafts = pl.col("s_drafted") * (layer + head)
    return body + joins + head + drafts + sampling_seconds()


def tokens_per_step() -> pl.Expr:
    """Tokens one sequence gains per step: 1 + a + a^2 + ... + a^drafted.

    Source: Leviathan, Kalman and Matias, "Fast inference from transformers via speculative
    decoding", 2023, equation 1.
    """
    rate = pl.col("s_acceptance").clip(0.0, 0.999)
    return (1 - rate.pow(pl.col("s_drafted") + 1)) / (1 - rate)
