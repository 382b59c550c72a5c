"""How prefill and decode share a replica: time per output token and time to first token.

A closed loop: `s_asked` clients each send the next request when the last one is answered.
"""

from __future__ import annotations

from typing import Final

import polars as pl

PREFILL_BATCH_TOKENS: Final = 8192.0
"""Prompt tokens that engines usually put into one prefill pass."""


def interference_seconds() -> pl.Expr:
    """Prefill of other requests that one output token waits for.

    While a request makes its output tokens, each other sequence in flight starts anew once, so
    (n - 1) prompts stall the decode of `output_tokens` tokens; short prompts share a pass.
    """
    shared = (pl.col("s_input_tokens") / PREFILL_BATCH_TOKENS).clip(upper_bound=1.0)
    stall = pl.col("s_prompt") + pl.col("s_prefill_pass") * pl.col("s_launch_share") * shared
    others = (pl.col("s_sequences") - 1).clip(lower_bound=0.0)
    return pl.col("s_interference") * others * stall / pl.col("s_output_tokens") / pl.col("s_pp")


def token_seconds() -> pl.Expr:
    """Mean time per output token: its share of a step, and the prefill in between."""
    return pl.col("s_step") / pl.col("s_tokens_per_step") + pl.col("s_wait")


def admission_seconds() -> pl.Expr:
    """First-token time of an admitted request.

    Request handling, which grows with the sequences in flight, its own prefill, the prompts that
    arrived with it (`burst_share` of the load arrives at once) and the steps it waits for.
    """
    queue = pl.col("s_burst_share") * (pl.col("s_rank_sequences") - 1).clip(lower_bound=0.0)
    return (
        pl.col("s_first_token_ms") * 1e-3
        + pl.col("s_prefill_pass")
        + pl.col("s_reading")
        + pl.col("s_own_prompt") * (1 + queue)
        + pl.col("s_arrival_ms") * 1e-3 * pl.col("s_sequences")
        + _waited_steps() * pl.col("s_token")
    )


def _waited_steps() -> pl.Expr:
    """Steps before a request gets its own: those under way, half of a polling interval, and with
    attention data parallelism the steps that engines hold a prompt back to balance the ranks,
    which meet in every layer of experts.
    """
    together = (pl.col("s_dp") > 1) & (pl.col("s_routed_parameters") > 0)
    balance = pl.when(together).then("s_balance_steps").otherwise(0.0)
    return pl.col("s_wait_steps") + (pl.col("s_poll") - 1) / 2 + balance


def first_token_seconds() -> pl.Expr:
    """First-token time with the wait for a free place, where more clients ask than fit.

    By Little's law a client of `asked` over `n` places spends `asked / n` service times, of which
    all but one are waiting.
    """
    service = pl.col("s_admission") + pl.col("s_output_tokens") * pl.col("s_token")
    return pl.col("s_admission") + service * (pl.col("s_asked") / pl.col("s_sequences") - 1)


def request_seconds() -> pl.Expr:
    """End-to-end time of one request in the mean."""
    return pl.col("s_first") + (pl.col("s_output_tokens") - 1) * pl.col("s_token")
