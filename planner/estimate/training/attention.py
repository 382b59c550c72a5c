"""Bytes that attention saves for the backward pass and needs while it runs, per token.

Columns: `query_width`, `key_width`, `value_width`, `output_width` (elements of one token on the
rank), `heads`, `key_tokens` (tokens each query may meet), `compute` (bytes an element), `train`,
and the features of the layer. Kinds: `eager` materialises the scores, `sdpa` and `flash` don't.
"""

from __future__ import annotations

import polars as pl

FP32 = 4.0


def is_eager() -> pl.Expr:
    """Scores are materialised."""
    return pl.col("attention") == "eager"


def scores() -> pl.Expr:
    """Elements of the score matrix for one query token."""
    return pl.col("heads") * pl.col("key_tokens")


def saved_scores() -> pl.Expr:
    """Eager attention: fp32 softmax and its 16-bit copy; a soft-cap keeps its tanh as well.

    Attention dropout (gpt2) works in the compute dtype and keeps softmax, result and mask.
    """
    compute = pl.col("compute")
    upcast = FP32 + pl.when(compute < FP32).then(compute).otherwise(0.0)
    capped = upcast + pl.when("softcap").then(compute).otherwise(0.0)
    each = pl.when("attention_dropout").then(2 * compute + 1).otherwise(capped)
    return each * scores()


def saved_attention() -> pl.Expr:
    """Queries, keys, values, output and row statistics that the kernel keeps.

    Eager keeps expanded keys and values under grouped queries, and its output only as the input of
    a trained projection; a fused qkv projection stays alive as a whole behind its value slice.
    """
    compute, query, key = pl.col("compute"), pl.col("query_width"), pl.col("key_width")
    value, output = pl.col("value_width"), pl.col("output_width")
    train = pl.col("train")
    grouped = pl.col("kv_heads") < pl.col("heads")
    narrow = query + key + value
    wide = query + query + output
    plain = narrow + output + pl.when("kv_repeated").then(wide - narrow).otherwise(0.0)
    fused = pl.when("fused_qkv").then(fused_extra()).otherwise(0.0)
    flash = compute * (plain + fused) + FP32 * pl.col("heads")
    expanded = pl.when(grouped).then(wide).otherwise(narrow)
    eager = compute * (expanded + train * output + fused) + saved_scores()
    return (
        pl.when("has_attention")
        .then(pl.when(is_eager()).then(eager).otherwise(flash))
        .otherwise(0.0)
    )


def fused_extra() -> pl.Expr:
    """Elements kept alive because queries and keys share storage with the values.

    Rotary embeddings copy queries and keys, so the fused projection's output lives beside them,
    and the attention output is copied for a trained projection; without rotation (gpt2) all are
    views and cost nothing more. Eager attention copies the values, unless one sequence with as
    many key-value heads as heads needs no copy.
    """
    rotated = pl.col("query_width") + pl.col("key_width")
    one = (pl.col("micro_batch_size") == 1) & (pl.col("kv_heads") >= pl.col("heads"))
    copied = pl.when(is_eager()).then(0.0).otherwise(pl.col("train") * pl.col("output_width"))
    views = pl.col("rotary") & (~is_eager() | one)
    return pl.when(views).then(rotated + copied).otherwise(0.0)


def attention_backward() -> pl.Expr:
    """Live bytes of attention's backward pass beyond what it saved, per token.

    Eager: the gradient of the probabilities in fp32 and the softmax gradient, while the 16-bit
    probabilities are freed; the CUDA kernel multiplies gradient and softmax into a further fp32
    tensor first (`kernel_temporaries`), and gives fp16 gradients of fp16 scores. Flash: gradients
    of q, k, v and an fp32 accumulator of dq. Source: softmax_backward_cuda_out of torch.
    """
    compute = pl.col("compute")
    freed = pl.when(compute < FP32).then(compute).otherwise(0.0)
    fused = pl.when("half_precision").then(FP32 - compute).otherwise(0.0)
    kernel = pl.when("kernel_temporaries").then(FP32 - fused).otherwise(0.0)
    upcast = (2 * FP32 - freed + kernel) * scores()
    eager = pl.when("attention_dropout").then(compute * scores()).otherwise(upcast)
    width = pl.col("query_width") + pl.col("key_width") + pl.col("value_width")
    flash = compute * (width + pl.col("output_width")) + FP32 * pl.col("query_width")
    return pl.when(is_eager()).then(eager).otherwise(flash)


def mask_bytes() -> pl.Expr:
    """The causal mask of eager attention, made once: one row of keys for every query token."""
    eager = pl.col("compute") * pl.col("key_tokens")
    return pl.when(is_eager()).then(eager).otherwise(0.0)
