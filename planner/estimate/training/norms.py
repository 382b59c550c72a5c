"""Bytes that the norms of a layer save for the backward pass, per token.

Columns: `hidden`, `norms`, `heads`, `kv_heads`, `query_width`, `key_width` (elements on the rank),
`train` (1.0 where the base weights train), `compute` and `stream` (bytes an element). An RMS norm
of transformers keeps its input in fp32, one fp32 scale per row, and, only where its weight trains,
the normalised input in the input's dtype; a LayerNorm keeps its input and two statistics.
"""

from __future__ import annotations

import polars as pl

FP32 = 4.0


def saved_norms() -> pl.Expr:
    """Inputs and statistics of all hidden-size norms of the layer.

    Source: LlamaRMSNorm and GemmaRMSNorm of transformers, native_layer_norm of torch; checked
    against the training oracle to the byte.
    """
    rms = FP32 * pl.col("hidden") + FP32 + pl.col("train") * normalised() * pl.col("hidden")
    layer = pl.col("stream") * pl.col("hidden") + 2 * pl.col("compute")
    return pl.col("norms") * pl.when("layer_norm").then(layer).otherwise(rms)


def normalised() -> pl.Expr:
    """Bytes an element of the normalised input that a trained RMS weight is multiplied with."""
    return pl.when("norm_weight_fp32").then(FP32).otherwise(pl.col("stream"))


def saved_qk_norms() -> pl.Expr:
    """Per-head norms of queries and keys (Qwen3, Gemma-3): like RMS norms over their width."""
    width = pl.col("query_width") + pl.col("key_width")
    rows = pl.col("heads") + pl.col("kv_heads")
    saved = FP32 * width + FP32 * rows + pl.col("train") * pl.col("compute") * width
    return pl.when("qk_norm").then(saved).otherwise(0.0)


def norm_inputs_saved() -> pl.Expr:
    """What the linears that read the two norms' outputs keep of them, per token.

    A trained linear keeps its input; q, k and v (gate and up) share one tensor. Where autocast
    casts an fp32 stream each linear keeps a cast of its own.
    """
    casts = pl.col("stream") > pl.col("compute")
    attention = pl.when(casts & ~pl.col("fused_qkv")).then(3.0).otherwise(1.0)
    mlp = pl.when(casts & ~pl.col("fused_gate_up")).then(2.0).otherwise(1.0)
    mlp = pl.when(pl.col("mlp") == "plain").then(1.0).otherwise(mlp)
    mlp = pl.when("parallel_residual").then(0.0).otherwise(mlp)
    return pl.col("train") * pl.col("compute") * pl.col("hidden") * (attention + mlp)


def final_norm_saved() -> pl.Expr:
    """The norm before the head and the head's input, at the end of the forward pass."""
    one = pl.col("norms") * 0 + 1
    rms = FP32 * pl.col("hidden") + FP32 + pl.col("train") * normalised() * pl.col("hidden")
    layer = pl.col("stream") * pl.col("hidden") + 2 * pl.col("compute")
    return one * pl.when("layer_norm").then(layer).otherwise(rms)


def final_norm_backward() -> pl.Expr:
    """Live bytes of the final norm's backward pass: its input and five fp32 temporaries."""
    rms = 6 * FP32 * pl.col("hidden")
    return pl.when("layer_norm").then(3 * pl.col("compute") * pl.col("hidden")).otherwise(rms)
