"""Logits and loss: what is live around the head, beyond what was live when the head starts.

Columns: `logit_elements` (vocabulary on the rank x tokens of the micro-batch), `rank_tokens`,
`hidden_size`, `compute_element_bytes`, `logit_softcap`, `loss_kernel`, `is_full`, and the preset's
`logits_fp32_copies`, `logits_backward_copies`, `holds_logits`, `loss_chunk_tokens`.
"""

from __future__ import annotations

import polars as pl

FP32 = 4.0
LABEL_BYTES = 8.0


def keeps_all_logits() -> pl.Expr:
    """The loss kernel sees the logits of the whole micro-batch at once."""
    return pl.col("loss_kernel").is_in(["none", "fused"])


def logits_element_bytes() -> pl.Expr:
    """Bytes of the head's own output."""
    return pl.col("compute_element_bytes")


def forward_bytes() -> pl.Expr:
    """Peak of head and loss in the forward pass.

    Plain: the logits, their fp32 copy, and log-softmax in fp32 (10 bytes a logit with 16-bit
    compute); a final soft-cap adds its output. transformers before 4.50 copied the shifted
    logits once more, and before 4.46 let the 16-bit logits go. Source: training oracle, to the
    byte; fms runs for the older copies.
    """
    plain = _before_loss() + FP32 * (pl.col("logits_fp32_copies") - 1)
    return pl.col("logit_elements") * _by_kernel(plain, fused_bytes()) + _chunks() + _labels()


def fused_bytes() -> pl.Expr:
    """A cross entropy in one kernel writes its gradient into the logits that it was given."""
    return _before_loss()


def _before_loss() -> pl.Expr:
    """The head's output, its fp32 copy, and the shifted copy of older versions."""
    own = logits_element_bytes()
    upcast = FP32 - _free_cast()
    kept = pl.when(pl.col("frees_logits") & (own < FP32)).then(0.0).otherwise(own)
    return kept + _softcap() + upcast + FP32 * pl.col("copies_shifted_logits")


def _free_cast() -> pl.Expr:
    """`logits.float()` makes no copy of logits that are fp32 already."""
    return pl.when(logits_element_bytes() >= FP32).then(FP32).otherwise(0.0)


def backward_bytes() -> pl.Expr:
    """Peak of the loss's backward pass: log-softmax, its gradient and the gradient below it."""
    copies = FP32 * pl.col("logits_backward_copies")
    plain = copies + _softcap() + _held()
    return pl.col("logit_elements") * _by_kernel(plain, fused_bytes()) + _chunks() + _labels()


def head_backward_bytes() -> pl.Expr:
    """The head's own backward pass: gradients of the logits and of its input (and of its weight,
    which is booked under gradients)."""
    own = logits_element_bytes()
    elements = pl.when(keeps_all_logits()).then("logit_elements").otherwise(0.0)
    return elements * (own + _held()) + own * pl.col("rank_tokens") * pl.col("hidden_size")


def _softcap() -> pl.Expr:
    return pl.when("logit_softcap").then(logits_element_bytes()).otherwise(0.0)


def _held() -> pl.Expr:
    """A trainer that keeps the model's output through the backward pass keeps the logits."""
    return pl.when("holds_logits").then(logits_element_bytes()).otherwise(0.0)


def _by_kernel(plain: pl.Expr, fused: pl.Expr) -> pl.Expr:
    return (
        pl.when(pl.col("loss_kernel") == "none")
        .then(plain)
        .when(pl.col("loss_kernel") == "fused")
        .then(fused)
        .otherwise(0.0)
    )


def _labels() -> pl.Expr:
    return LABEL_BYTES * pl.col("rank_tokens")


def _chunks() -> pl.Expr:
    """Chunked losses: one chunk of logits with its fp32 work, and what spans the chunks.

    Liger's fused linear cross entropy takes as many chunks as the vocabulary is wider than the
    hidden size, and keeps the gradient of the head's input, and of the head's weight where it
    trains. `chunked` (litgpt, torchtune) runs the head first: the logits stay, the fp32 work is
    per chunk, and each chunk's log-softmax waits for the backward pass (`chunk_saved_bytes`).
    """
    tokens, vocabulary = pl.col("rank_tokens"), pl.col("rank_vocabulary")
    own = logits_element_bytes()
    ratio = (pl.col("vocab_size") / pl.col("hidden_size")).ceil()
    liger_rows = 2.0 ** (tokens / ratio).ceil().log(2).ceil()
    liger_rows = pl.min_horizontal(liger_rows, tokens)
    liger = liger_rows * vocabulary * (own + FP32) + own * tokens * pl.col("hidden_size")
    rows = pl.min_horizontal(pl.col("loss_chunk_tokens").cast(pl.Float64), tokens)
    kept = own + pl.col("chunk_saved_bytes")
    chunked = kept * tokens * vocabulary + rows * vocabulary * 2 * FP32
    return (
        pl.when(pl.col("loss_kernel") == "liger")
        .then(liger)
        .when(pl.col("loss_kernel") == "chunked")
        .then(chunked)
        .otherwise(0.0)
    )


def liger_weight_gradient_elements() -> pl.Expr:
    """Liger accumulates the head's gradient during the forward pass where the head trains."""
    trains = (pl.col("loss_kernel") == "liger") & pl.col("is_full")
    return pl.when(trains).then(pl.col("rank_vocabulary") * pl.col("hidden_size")).otherwise(0.0)
