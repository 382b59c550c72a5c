"""The vision tower in an engine's profiling run: how many pictures, their peak, what stays alive.

vLLM runs its encoder once on as many of the largest items as its budget allows, keeps their
inputs and outputs, and then runs the text model (`gpu_model_runner.py profile_run`,
`multimodal/encoder_budget.py`). The larger of the two peaks counts. Columns named `encoder_...`
are the model's facts (`planner.resolve.facts.Encoder`).
"""

from __future__ import annotations

import polars as pl

from planner.estimate.inference import runner
from planner.estimate.inference.constants import constant
from planner.estimate.ledger import Bound

_WIDTH: float = 2.0
"""Bytes of an element: towers compute in 16 bits."""


def is_profiled() -> pl.Expr:
    """Whether the engine sizes its memory with pictures, and knows how large this model's are."""
    return _runs_encoder() & pl.col("encoder_image_tokens").is_not_null()


def is_unknown() -> pl.Expr:
    """Whether the engine sizes its memory with pictures of a size that is not known."""
    return pl.col("has_towers") & _runs_encoder() & pl.col("encoder_image_tokens").is_null()


def _runs_encoder() -> pl.Expr:
    return runner.profiles_encoder() > 0


def film_columns() -> list[pl.Expr]:
    """The longest film: as many steps of frames as fit into the context, `film_tokens`, `..._rows`.

    steps = floor((context - tokens kept for a picture) / tokens of a step), at least one.
    """
    step = pl.col("encoder_video_step_tokens")
    room = pl.col("room_tokens") - pl.col("encoder_video_reserved_tokens")
    most = (pl.col("encoder_video_max_tokens") / step).floor()
    steps = pl.min_horizontal((room / step).floor(), most).clip(1.0)
    shown = (step > 0) & (pl.col("videos_per_prompt").fill_null(1) > 0)
    tokens = pl.min_horizontal(steps * step, "encoder_video_max_tokens")
    return [
        pl.when(shown).then(tokens).otherwise(0.0).alias("film_tokens"),
        pl.when(shown)
        .then(tokens / step * pl.col("encoder_video_step_rows"))
        .otherwise(0.0)
        .alias("film_rows"),
        pl.when(pl.col("images_per_prompt").fill_null(1) > 0)
        .then("encoder_image_tokens")
        .otherwise(0)
        .cast(pl.Float64)
        .alias("picture_tokens"),
    ]


def item_columns() -> list[pl.Expr]:
    """Tokens and tower rows of the item that is profiled, the larger of picture and film."""
    film, picture = pl.col("film_tokens"), pl.col("picture_tokens")
    longer = film > picture
    return [
        pl.max_horizontal(film, picture).alias("item_tokens"),
        pl.when(longer)
        .then("film_rows")
        .otherwise(pl.when(picture > 0).then("encoder_image_rows").otherwise(0))
        .cast(pl.Float64)
        .alias("item_rows"),
    ]


def films_grow() -> pl.Expr:
    """Whether a longer context makes the film longer that is profiled."""
    longest = pl.col("encoder_video_max_tokens")
    return (
        is_profiled()
        & (pl.col("film_tokens") > 0)
        & (pl.col("profiles_requests") == 0)
        & (longest > pl.col("encoder_video_step_tokens"))
    )


def profiled_items() -> pl.Expr:
    """Items in the profiling run, `profiled_items`.

    budget = max(max_num_batched_tokens, tokens of the largest item); items = budget // tokens, at
    most what max_num_seqs requests of this context may bring. V0 instead ran whole requests, each
    with every kind of item, and none at all where they are longer than its share of the batch
    (vllm/worker/model_runner.py, multimodal/profiling.py).
    """
    tokens, batched = pl.col("item_tokens"), pl.col("batched_tokens")
    longer = pl.col("film_tokens") > pl.col("picture_tokens")
    given = pl.when(longer).then("videos_per_prompt").otherwise("images_per_prompt")
    limit = given.fill_null(_UNLIMITED)
    budget = pl.max_horizontal(batched, tokens)
    per_request = pl.min_horizontal(limit, (pl.col("room_tokens") / tokens).floor()).clip(1)
    most = pl.col("step_sequences") * per_request
    items = pl.min_horizontal((budget / tokens).floor(), most).clip(1)
    fits = request_tokens() <= batched / requests()
    by_request = pl.when(fits).then(requests()).otherwise(0.0)
    run = pl.when(pl.col("profiles_requests") > 0).then(by_request).otherwise(items)
    profiled = pl.when(is_profiled() & (tokens > 0)).then(run).otherwise(0.0)
    return profiled.alias("profiled_items")


_UNLIMITED: int = 999


def request_tokens() -> pl.Expr:
    """Tokens of one picture and one film together, what a whole request brings in V0."""
    return pl.col("film_tokens") + pl.col("picture_tokens")


def requests() -> pl.Expr:
    """Requests of V0's profiling run: the batch over the tokens of a request's items."""
    whole = (pl.col("batched_tokens") / request_tokens()).floor()
    return pl.min_horizontal("step_sequences", whole).clip(1.0)


def kept_bytes(bound: Bound = "expected") -> pl.Expr:
    """Inputs and outputs of the profiled items, alive while the text model runs.

    items x (rows x input elements + tokens x output elements) x 2 bytes.
    """
    inputs = pl.col("item_rows") * pl.col("encoder_pixel_elements")
    outputs = pl.col("item_tokens") * pl.col("encoder_output_elements")
    share = constant("encoder_kept_share", bound)
    return share * pl.col("profiled_items") * (inputs + outputs) * _WIDTH


def encoder_peak_bytes(bound: Bound = "expected") -> pl.Expr:
    """The tower's own peak, in a block's MLP, with all inputs.

    rows x (a x width + MLP elements / TP) x 2 bytes, with a the block's input, its residual, its
    norm and positions; or what looking positions up takes (see `_position_bytes`).
    """
    inputs = pl.col("item_rows") * pl.col("encoder_pixel_elements") * _WIDTH
    items = pl.col("profiled_items")
    blocks = pl.max_horizontal(_rows_at_once() * _row_bytes(bound), _position_bytes())
    peak = constant("encoder_share", bound) * (items * inputs + blocks)
    return pl.when(items > 0).then(peak).otherwise(0.0)


def _row_bytes(bound: Bound) -> pl.Expr:
    width = constant("encoder_hidden_elements", bound) * pl.col("encoder_hidden_size")
    mlp = pl.col("encoder_mlp_elements") / pl.col("tensor_parallel_size")
    return (width + mlp) * _WIDTH


def _rows_at_once() -> pl.Expr:
    """Rows the tower computes together: all of them, but one picture's where a lookup is large."""
    every = pl.col("profiled_items") * pl.col("item_rows")
    share, position = pl.col("encoder_lookup_share"), pl.col("encoder_position_bytes")
    chunk = share * pl.col("usable_bytes") / (_LOOKUP_MARGIN * position)
    alone = pl.min_horizontal("item_rows", "encoder_image_rows")
    limited = pl.when(share > 0).then(pl.min_horizontal(every, chunk)).otherwise(alone)
    return pl.when(position > 0).then(limited).otherwise(every)


_LOOKUP_MARGIN: float = 1.6
"""vLLM counts 32 bytes a row and position for a lookup that holds 20 (gemma4_mm.py)."""


def _position_bytes() -> pl.Expr:
    """One-hot rows over the table of positions, 64-bit and cast: Gemma 4's tower.

    vLLM before 0.22 encodes each picture alone; later as many rows as a tenth of the card holds.
    """
    return _rows_at_once() * pl.col("encoder_position_bytes")
