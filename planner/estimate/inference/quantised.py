"""What quantised weights cost beside themselves: loaders' copies, kernels' buffers, their heads."""

from __future__ import annotations

import polars as pl

from planner.estimate.inference.constants import constant
from planner.estimate.ledger import Bound


def is_unquantised() -> pl.Expr:
    """Whether the weights are run in 16 or 32 bits."""
    return pl.col("weight_family").fill_null("float") == "float"


def is_awq() -> pl.Expr:
    return pl.col("weight_format").str.starts_with("awq").fill_null(False)


def quantised_head_bytes() -> pl.Expr:
    """What a 16-bit head loses where an engine quantises it with the other linears."""
    return pl.col("lm_head_weights_bytes") * (1 - _head_share())


def untied_head_bytes() -> pl.Expr:
    """A head of its own beside the embedding it is tied to in the checkpoint.

    LitGPT's GPT makes `lm_head` and `wte` apart and loads one tensor into both (litgpt/model.py,
    convert_hf_checkpoint.py).
    """
    head = 2.0 * pl.col("embedding_parameters") * _head_share()
    return pl.col("unties_head") * pl.when(pl.col("tied_embeddings")).then(head).otherwise(0.0)


def _head_share() -> pl.Expr:
    """Size of the head as an engine holds it, against 16 bits: scales of groups are counted."""
    named = pl.col("weight_family").is_in(["nf4", "fp4", "bnb", "int8", "int4", "fp8"])
    quantised = (pl.col("quantises_head") > 0) & named
    return pl.when(quantised).then(pl.col("held_bits").fill_null(16.0) / 16).otherwise(1.0)


def untied_fp8_head_bytes() -> pl.Expr:
    """A head of its own that a tied model gets where FP8 checkpoints are loaded untied."""
    untied = pl.col("tied_embeddings") & (pl.col("weight_family") == "fp8")
    copy = pl.col("fp8_unties_head") * pl.col("embedding_parameters") * 2.0
    return pl.when(untied).then(copy).otherwise(0.0)


def int8_loading_bytes(bound: Bound = "expected") -> pl.Expr:
    """What bitsandbytes holds of the largest matrix while it quantises it to int8.

    A 16-bit copy and two int8 copies, by rows and by columns (Int8Params.cuda, double_quant;
    versions from 0.45 make one): in units of the 16-bit matrix. The others are loaded already.
    """
    head = pl.col("embedding_parameters") * pl.col("quantises_head")
    size = 2.0 * pl.max_horizontal("largest_linear_elements", head)
    copies = constant("int8_load_copies", bound) * size
    return pl.when(pl.col("weight_format") == "int8-bnb").then(copies).otherwise(0.0)


def joined_projections_bytes(bound: Bound = "expected") -> pl.Expr:
    """Query, key and value matrices that are alive twice while they are joined into one.

    AutoAWQ joins them layer by layer into new blocks, and the old layers live until the last
    block is made (LlamaFuser.fuse_transformer, fuse_qkv): all of them in 4 bits, beside the
    caches of the new blocks. Later versions delete them one by one. A checkpoint whose projection
    is one matrix has nothing to join.
    """
    matrices = pl.col("separate_projection_elements") / pl.col("tensor_parallel_size")
    held = matrices / pl.col("pipeline_parallel_size") * pl.col("held_bits").fill_null(16.0) / 8
    return constant("joins_projections", bound) * held


def quantising_reserve_bytes(bound: Bound = "expected") -> pl.Expr:
    """Holes that quantising a loaded model leaves in the allocator's segments.

    A base, and 16-bit copies of the head, the largest matrix. None for 16 and 32 bits.
    """
    head = 2.0 * pl.col("embedding_parameters")
    copies = constant("quantising_head_copies", bound) * head
    size = constant("quantising_base_bytes", bound) + copies
    return pl.when(is_unquantised()).then(0.0).otherwise(size)


def quantised_scratch_bytes(bound: Bound = "expected") -> pl.Expr:
    """16-bit buffers of weight-only kernels: dequantised matrices, AWQ's widest output."""
    output = (
        pl.col("awq_mlp_elements_per_token") * pl.col("widest_mlp") * pl.col("step_tokens") * 2.0
    )
    return unpacked_matrix_bytes(bound) + pl.when(is_awq()).then(output).otherwise(0.0)


def unpacks_awq() -> pl.Expr:
    """Whether a step is long enough for AWQ matrices to be dequantised before they multiply."""
    least = pl.col("unpacks_awq_from_tokens")
    return is_awq() & (least > 0) & (pl.col("step_tokens") >= least)


def unpacked_matrix_bytes(bound: Bound = "expected") -> pl.Expr:
    """The largest matrix in 16 bits, for kernels that dequantise it before they multiply.

    GPTQ's ExLlama kernels keep a buffer for it; bitsandbytes unpacks each 4-bit matrix for more
    than one token (matmul_4bit), the head with it where the head is quantised.
    """
    name = pl.col("weight_format")
    matrix = pl.col("largest_linear_elements") * 2.0
    head = pl.col("embedding_parameters") * pl.col("quantises_head") * 2.0
    awq = pl.when(unpacks_awq()).then(1.0).otherwise(constant("awq_scratch", bound)) * matrix
    return (
        pl.when(name.str.starts_with("gptq-int4"))
        .then(pl.col("gptq_int4_scratch") * matrix)
        .when(is_awq())
        .then(awq)
        .when((pl.col("weight_family") == "nf4") | (name == "fp4-bnb"))
        .then(constant("unpacks_nf4", bound) * pl.max_horizontal(matrix, head))
        .otherwise(0.0)
    )
