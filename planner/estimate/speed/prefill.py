"""Prefill of one prompt: matrix products, attention, joins, and launches outside CUDA graphs."""

from __future__ import annotations

import polars as pl

from planner.estimate.speed.communication import all_reduce_seconds
from planner.estimate.speed.decode import attended_tokens, routed_bandwidth, touched_share
from planner.estimate.speed.hardware import half_flops, prefill_flops, weight_bandwidth


def new_tokens() -> pl.Expr:
    """Prompt tokens that are computed; a shared prefix is already cached."""
    return pl.col("s_input_tokens") * (1 - pl.col("s_cached_share"))


def matrix_seconds(linear_ranks: str = "s_ranks") -> pl.Expr:
    """Products of the prompt with every active parameter, over the ranks that share them.

    With attention data parallelism a prompt's linears run on the tensor-parallel ranks of one
    group (`linear_ranks` = `s_tp`); in the mean over all prompts each rank carries its share.
    """
    tokens = new_tokens()
    linear = 2 * pl.col("s_linear_parameters") * tokens / prefill_flops("linear")
    active = pl.col("s_num_experts_per_tok") / pl.col("s_num_experts")
    routed = 2 * pl.col("s_routed_parameters") * active * tokens
    rate = prefill_flops("routed") * pl.col("s_expert_compute_fraction")
    experts = pl.when(pl.col("s_routed_parameters") > 0).then(routed / rate).otherwise(0.0)
    return linear / pl.col(linear_ranks) + experts / pl.col("s_ranks")


def attention_seconds(ranks: str = "s_ranks") -> pl.Expr:
    """Causal attention of the new tokens over all before them, split over `ranks`.

    Indexed attention works on the latents of the tokens it picks, in the absorbed form.
    """
    whole, cached = pl.col("s_input_tokens"), pl.col("s_input_tokens") * pl.col("s_cached_share")
    pairs = (whole.pow(2) - cached.pow(2)) / 2
    window = pl.min_horizontal(whole / 2, "s_local_window_tokens")
    chosen = pl.min_horizontal(pairs, new_tokens() * attended_tokens(whole))
    full = (
        pl.col("s_attention_pair_flops_global") * pairs
        + pl.col("s_attention_pair_flops_local") * new_tokens() * window
    )
    sparse = pl.col("s_latent_pair_flops") * chosen
    flops = pl.when(pl.col("s_indexed_layers") > 0).then(sparse).otherwise(full)
    rate = half_flops() * pl.col("s_attention_compute_fraction")
    return flops / pl.col(ranks) / rate


def launch_seconds() -> pl.Expr:
    """Launching a prefill pass without CUDA graphs: a multiple of the decode launches."""
    eager = pl.when("s_eager").then(1.0).otherwise("s_prefill_launch_factor")
    return pl.col("s_kernels") * eager


def reading_seconds() -> pl.Expr:
    """What reading the weights takes beyond the products of a short prompt.

    A prefill pass reads every weight its tokens meet, however few the tokens are.
    """
    share = touched_share(new_tokens()) / pl.col("s_ranks")
    routed = pl.col("s_routed_bytes") * share / routed_bandwidth()
    read = pl.col("s_linear_bytes") / pl.col("s_tp") / weight_bandwidth("linear")
    experts = pl.when(pl.col("s_routed_parameters") > 0).then(routed).otherwise(0.0)
    return (read + experts - matrix_seconds()).clip(lower_bound=0.0)


def prompt_seconds() -> pl.Expr:
    """Work that one prompt adds to the replica in the mean, without launches."""
    joins = all_reduce_seconds(new_tokens()) / pl.col("s_dp")
    return matrix_seconds() + attention_seconds() + joins


def own_prompt_seconds() -> pl.Expr:
    """What a request waits for its own prompt: one attention group computes it."""
    joins = all_reduce_seconds(new_tokens())
    return matrix_seconds("s_tp") + attention_seconds("s_tp") + joins
