"""Where the peak of a run is, and what of cache, state and logits is alive there.

An engine with a pool reserves all at once. Others peak while they load, in the prefill, in the
first decode step or in the last one.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference.host import has_head_on_gpu
from planner.estimate.inference.peaks import resident
from planner.estimate.inference.quantised import is_awq

SERVING: Final = "serving"
PREFILL: Final = "prefill"
FIRST_STEP: Final = "first decode step"
DECODE: Final = "decode"
LOAD: Final = "load"


def peak_phase() -> pl.Expr:
    """The phase that holds most: `peak_phase`."""
    step = pl.col("step_activations_expected") + pl.col("step_logits_expected")
    prompt, room = (
        (pl.col(f"{name}_sequence_bytes") - pl.col("state_bytes")) * pl.col("stored_sequences")
        for name in ("prompt", "room")
    )
    copies, base = pl.col("decode_cache_copies"), resident("expected")
    prefill = prompt + step
    first = prompt * copies + held_logit_bytes() + base
    decode = room * copies + base
    load = loaded_twice_bytes()
    return (
        pl.when(pl.col("is_pooled") > 0)
        .then(pl.lit(SERVING))
        .when((load > prefill) & (load > decode))
        .then(pl.lit(LOAD))
        .when((prefill >= decode) & (prefill >= first))
        .then(pl.lit(PREFILL))
        .when(first > decode)
        .then(pl.lit(FIRST_STEP))
        .otherwise(pl.lit(DECODE))
        .alias("peak_phase")
    )


def held_logit_bytes() -> pl.Expr:
    """Logits of the prompt where they live on through the first decode step.

    `outputs` is bound until the next forward returns (generation/utils.py greedy_search before
    4.42, which deletes it).
    """
    rows = pl.when(has_head_on_gpu()).then("logit_rows").otherwise(0.0)
    held = pl.col("held_bytes_per_logit")
    each = pl.when(held > 0).then(pl.max_horizontal(held, "activation_element_bytes"))
    return rows * pl.col("vocab_size") * each.otherwise(0.0)


def loaded_twice_bytes() -> pl.Expr:
    """A second copy of a tied embedding, alive until the head is tied to it."""
    copy = pl.col("embedding_parameters") * 2.0 * pl.col("awq_loads_untied_head")
    return pl.when(pl.col("tied_embeddings") & is_awq()).then(copy).otherwise(0.0)


def cache_bytes() -> pl.Expr:
    """Keys and values at the peak, without constant state.

    A cache of tuples is alive twice in every decode step: torch.cat makes the new keys and values
    of each layer while the old ones of all layers are held by the caller (modeling_qwen2.py and
    generation/utils.py of Transformers 4.38).
    """
    phase = pl.col("peak_phase")
    per_sequence = (
        pl.when(phase.is_in([PREFILL, FIRST_STEP, LOAD]))
        .then("prompt_sequence_bytes")
        .otherwise("room_sequence_bytes")
    )
    copies = pl.when(phase.is_in([FIRST_STEP, DECODE])).then("decode_cache_copies").otherwise(1.0)
    cache = (per_sequence - pl.col("state_bytes")) * pl.col("stored_sequences") * copies
    return pl.when(phase == LOAD).then(0.0).otherwise(cache)


def recurrent_state_bytes() -> pl.Expr:
    state = pl.col("state_bytes") * pl.col("sequences")
    held = pl.when(pl.col("peak_phase") == LOAD).then(0.0).otherwise(state)
    return pl.when(pl.col("state_bytes") > 0).then(held).otherwise(None)
