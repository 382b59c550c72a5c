"""Layers and tensors that llama.cpp leaves in host memory, and what running them costs the GPU.

`gpu_layers` (`-ngl`) counts from the last layer up; the output counts as one more. What stays on
the host is copied to the GPU, tensor by tensor, for batches of 32 tokens and more (ggml's
`offload_op`), so the largest such tensor is part of the compute buffer.
"""

from __future__ import annotations

import polars as pl

from planner.estimate.inference.constants import constant
from planner.estimate.ledger import Bound

_OFFLOADED_BATCH = 32
"""Smallest batch whose host tensors ggml's CUDA backend copies (min_batch_size)."""
_MATRICES_PER_EXPERT = 3
"""Gate, up and down: each is one stacked tensor of all experts of a layer in GGUF."""


def gpu_layer_share() -> pl.Expr:
    """Share of the decoder layers on GPUs: all where `gpu_layers` is not given."""
    layers = pl.col("num_hidden_layers")
    placed = pl.min_horizontal(pl.col("gpu_layers").clip(lower_bound=0), layers)
    return pl.when(pl.col("gpu_layers").is_null()).then(1.0).otherwise(placed / layers)


def has_head_on_gpu() -> pl.Expr:
    """Whether the output is on a GPU: it is the layer after the last (`n_layer + 1`)."""
    return (pl.col("gpu_layers") > pl.col("num_hidden_layers")).fill_null(True)


def host_weights_bytes() -> pl.Expr:
    """Weights of the rank that `gpu_layers` keeps in host memory.

    The input embedding is counted by embedding_on_cpu_bytes; layers are taken as equally large.
    """
    outer = pl.col("embedding_weights_bytes") + pl.col("lm_head_weights_bytes")
    layers = pl.max_horizontal(pl.col("rank_weights_bytes") - outer, 0.0)
    head = pl.when(has_head_on_gpu()).then(0.0).otherwise("lm_head_weights_bytes")
    tied = pl.when(pl.col("tied_embeddings") & ~has_head_on_gpu())
    shared = tied.then("embedding_weights_bytes").otherwise(0.0)
    return layers * (1 - gpu_layer_share()) + head + shared


def staged_bytes(bound: Bound = "expected") -> pl.Expr:
    """The largest tensor in host memory, copied to the GPU for each batch.

    A stack of experts (their bytes / layers / 3), or the largest linear. Agrees with llama.cpp's
    compute buffers of Qwen3-235B with experts on the CPU: q8_0 816 MiB, q6_K 630 MiB.
    """
    per_stage = pl.col("moe_layers") / pl.col("pipeline_parallel_size")
    experts = pl.col("experts_weights_bytes") / per_stage / _MATRICES_PER_EXPERT
    bits = pl.col("stored_bits").fill_null(16.0)
    linear = pl.col("largest_linear_elements") * bits / 8
    largest = pl.when(pl.col("moe_layers") > 0).then(experts).otherwise(linear)
    copies = pl.col("step_tokens") >= _OFFLOADED_BATCH
    on_host = pl.col("has_host_weights").fill_null(False) | (gpu_layer_share() < 1)
    return (
        pl.when(on_host & copies).then(constant("staged_tensors", bound) * largest).otherwise(0.0)
    )


def mask_bytes(bound: Bound = "expected") -> pl.Expr:
    """Attention mask of a micro batch against the whole context: tokens x context x bytes.

    llama.cpp makes it in fp32 and casts it to fp16 for flash attention: 6 bytes.
    """
    return constant("mask_bytes_per_pair", bound) * pl.col("step_tokens") * pl.col("room_tokens")
