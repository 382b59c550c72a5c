"""Working memory of an engine: the peak of a forward step or of the logits, graphs, and the rest.

Each function takes a bound and returns one expression in bytes; `constant` picks the profile's
value, low or high for it.
"""

from __future__ import annotations

import polars as pl

from planner.estimate.inference.constants import constant
from planner.estimate.inference.host import has_head_on_gpu
from planner.estimate.ledger import Bound

__all__ = ["constant"]


def dense_layer_bytes(bound: Bound = "expected") -> pl.Expr:
    """Activations alive inside a layer with a dense MLP, for the tokens of a step.

    T x (a x hidden + b x widest MLP / TP) x element bytes, with a = 4 (residual, input, output,
    norm) and b = 3 (gate, up, product). Agrees with vLLM's profiling peak where the sampler's is
    smaller (T4, RTX 2060, long V0 prompts) and with the prefill of Transformers. The int8 product
    of bitsandbytes is made in int32 before it is dequantised (MatMul8bitLt).
    """
    hidden = constant("hidden_elements_per_token", bound) * pl.col("hidden_size")
    width = pl.col("widest_mlp") / pl.col("tensor_parallel_size")
    wide = constant("int8_mlp_elements_per_token", bound)
    product = pl.when(pl.col("weight_format") == "int8-bnb").then(wide).otherwise(0.0)
    elements = hidden + (constant("mlp_elements_per_token", bound) + product) * width
    return pl.when(width > 0).then(_of_step(elements, bound)).otherwise(0.0)


def expert_layer_bytes(bound: Bound = "expected") -> pl.Expr:
    """The same of a layer that routes to experts, whose buffers are counted apart.

    All of a x hidden where the buffers are freed layer by layer, residual and output (a / 2) where
    an engine writes into kept ones; and the shared experts.
    """
    alive = 1.0 - 0.5 * pl.col("holds_moe_workspace")
    hidden = constant("hidden_elements_per_token", bound) * alive * pl.col("hidden_size")
    shared = pl.col("shared_width") / pl.col("tensor_parallel_size")
    elements = hidden + constant("mlp_elements_per_token", bound) * shared
    return pl.when(pl.col("moe_layers") > 0).then(_of_step(elements, bound)).otherwise(0.0)


def _of_step(elements: pl.Expr, bound: Bound) -> pl.Expr:
    share = constant("prefill_share", bound)
    return share * pl.col("step_tokens") * elements * pl.col("activation_element_bytes")


def eager_score_bytes(bound: Bound = "expected") -> pl.Expr:
    """Attention scores of one layer where they are written out: sequences x heads x T x T.

    llama.cpp sizes them for the whole context. The hidden states of attention are alive beside.
    ExLlama cuts a prompt so that a sequence's T x T stays within `max_attention_size`
    (model.py: 2048 x 2048).
    """
    eager = (pl.col("attention") == "eager").fill_null(False) | (pl.col("is_always_eager") > 0)
    heads = pl.col("most_heads") / pl.col("tensor_parallel_size")
    against = (
        pl.when(pl.col("mask_bytes_per_pair") > 0).then("room_tokens").otherwise("prompt_tokens")
    )
    limit, pairs = pl.col("attention_pairs_limit"), pl.col("step_tokens") * against
    cut = pl.when(limit > 0).then(pl.min_horizontal(pairs, limit * pl.col("sequences")))
    scores = constant("eager_score_bytes", bound) * heads * cut.otherwise(pairs)
    elements = constant("hidden_elements_per_token", bound) * pl.col("hidden_size")
    hidden = pl.col("step_tokens") * elements * pl.col("activation_element_bytes")
    size = constant("prefill_share", bound) * (scores + hidden)
    return pl.when(eager).then(size).otherwise(0.0)


def moe_workspace_bytes(bound: Bound = "expected") -> pl.Expr:
    """Buffers of the fused expert kernels: T x top_k x (max(N/2, K) + N) elements.

    N = 2 x expert width on this rank, K = hidden size; the two workspaces of vLLM's Triton
    experts. Kernels for 4-bit floats bring their own, smaller ones.
    """
    ep, tp = pl.col("expert_parallel_size"), pl.col("tensor_parallel_size")
    cut = pl.when(ep > 1).then(pl.max_horizontal(tp // ep, 1)).otherwise(tp)
    width = pl.col("expert_width") / cut
    elements = pl.max_horizontal(width, "hidden_size") + 2 * width
    chunk = pl.col("moe_chunk_tokens")
    step = pl.col("step_tokens")
    at_once = pl.when(chunk > 0).then(pl.min_horizontal(step, chunk)).otherwise(step)
    routed = at_once * pl.col("experts_per_token") * elements
    size = constant("moe_workspace_share", bound) * routed * pl.col("activation_element_bytes")
    return pl.when(pl.col("has_narrow_experts")).then(0.0).otherwise(size)


def latent_scratch_bytes(bound: Bound = "expected") -> pl.Expr:
    """Keys and values of one layer expanded from the MLA latent, for the whole context.

    In 16 bits, and in fp32 a few heads at a time, up to `latent_base_bytes`.
    """
    expanded = pl.col("expanded_layer_elements") * pl.col("room_tokens")
    wide = pl.min_horizontal(4.0 * expanded, constant("latent_base_bytes", bound))
    size = pl.col("expands_latent") * (2.0 * expanded + wide)
    return pl.when(pl.col("has_mla")).then(size).otherwise(0.0)


def tower_bytes(bound: Bound = "expected") -> pl.Expr:
    """What profiling a multimodal model adds: encoder outputs kept beside their embeddings."""
    kept = (
        constant("tower_elements_per_token", bound)
        * pl.col("step_tokens")
        * pl.col("hidden_size")
        * pl.col("activation_element_bytes")
    )
    size = kept + constant("tower_base_bytes", bound)
    return pl.when(pl.col("has_towers")).then(size).otherwise(0.0)


def logit_peak_bytes(bound: Bound = "expected") -> pl.Expr:
    """Logits of a step and what sampling makes of them: rows x vocabulary x bytes a logit.

    A model computing in fp32 makes logits of 4 bytes where `bytes_per_logit` counts 2. Where
    max_num_seqs is left to the engine, the lower bound takes the smaller of its defaults.
    """
    kept = pl.col("logit_rows_low" if bound == "low" else "logit_rows")
    rows = pl.when(has_head_on_gpu()).then(kept).otherwise(0.0)
    wider = pl.col("activation_element_bytes") - pl.col("element_bytes")
    return rows * pl.col("vocab_size") * (constant("bytes_per_logit", bound) + wider)


def step_output_bytes() -> pl.Expr:
    """Hidden states of a step, alive while its logits are made."""
    return pl.col("step_tokens") * pl.col("hidden_size") * pl.col("activation_element_bytes")


def graph_bytes(bound: Bound = "expected") -> pl.Expr:
    """CUDA graphs: a base, and buffers of every layer of this rank; none in eager mode.

    Base + layers x (a + b x hidden) + c x MLP widths / TP + experts chosen x d: hidden states are
    whole on every rank, the MLP's are cut. Agrees with 31 graphs of dense models in vLLM 0.19 at
    TP 1 to 4: median error 7 %, of nine in ten 10 % (14 % for models left out). The constants are
    for all batch sizes up to the capture limit; with fewer sequences vLLM captures sizes up to
    twice their number, so the share is that of the captured sizes.
    """
    stages = pl.col("pipeline_parallel_size")
    layers = pl.col("num_hidden_layers") / stages
    moe = pl.col("moe_layers") / stages
    dense = (layers - moe) * pl.col("widest_mlp") + moe * pl.col("shared_width")
    chosen = moe * pl.max_horizontal("experts_per_token", 1)
    size = (
        constant("graph_base_bytes", bound)
        + constant("graph_layer_bytes", bound) * layers
        + constant("graph_hidden_bytes", bound) * layers * pl.col("hidden_size")
        + constant("graph_mlp_bytes", bound) * dense / pl.col("tensor_parallel_size")
        + constant("graph_expert_bytes", bound) * chosen
        + constant("graph_moe_layer_bytes", bound) * moe
    )
    share = captured_sizes("step_sequences") / captured_sizes(None)
    limited = pl.when(pl.col("graph_capture_limit_tokens") > 0).then(size * share).otherwise(size)
    return pl.when(pl.col("enforce_eager").fill_null(False)).then(0.0).otherwise(limited)


def captured_sizes(sequences: str | None) -> pl.Expr:
    """Batch sizes vLLM captures: 1, 2, 4, every 8th to 256, every 16th to the limit.

    Up to twice `sequences`, or all of them where that is None.
    """
    limit = pl.col("graph_capture_limit_tokens")
    last = limit if sequences is None else pl.min_horizontal(2.0 * pl.col(sequences), limit)
    small = pl.min_horizontal((last.log(2.0) + 1.0).floor(), 3.0)
    eighths = pl.min_horizontal(last, 248.0) // 8
    sixteenths = pl.max_horizontal((last - 240.0) // 16, 0.0)
    return small + eighths + sixteenths


def communication_bytes(bound: Bound = "expected") -> pl.Expr:
    """NCCL and all-reduce buffers of a tensor-parallel rank, by the kind of link."""
    size = (
        pl.when("has_fast_link")
        .then(constant("communication_bytes", bound))
        .otherwise(constant("communication_pcie_bytes", bound))
    )
    return pl.when(pl.col("tensor_parallel_size") > 1).then(size).otherwise(0.0)


def rope_cache_bytes() -> pl.Expr:
    """Table of rotary angles that some engines keep: positions x rotary width x element bytes."""
    size = (
        pl.col("max_position_embeddings").fill_null(0)
        * pl.col("rotary_width").fill_null(0)
        * pl.col("activation_element_bytes")
    )
    return pl.col("has_rope_cache") * size


def absorbed_mla_bytes() -> pl.Expr:
    """16-bit copies of the two halves of kv_b_proj that absorbed MLA multiplies with."""
    elements = pl.col("absorbed_elements") / pl.col("tensor_parallel_size")
    return pl.col("has_absorbed_mla_copy") * 2.0 * elements / pl.col("pipeline_parallel_size")


def absorbed_projection_bytes(bound: Bound = "expected") -> pl.Expr:
    """Query and output projections multiplied into the latent's, kept beside the originals.

    heads / TP x latent x (query inputs + hidden), in FP8 for FP8 weights, and the rotary part of
    the query projection in 16 bits: W_Q_UK, W_UV_O and W_QR of vLLM's first MLA backend
    (VLLM_MLA_PERFORM_MATRIX_ABSORPTION). Agrees with DeepSeek-R1 (4.2 GiB a rank at TP 8) and
    DeepSeek-Coder-V2-Lite.
    """
    ranks = pl.col("tensor_parallel_size") * pl.col("pipeline_parallel_size")
    inputs = pl.col("query_features").fill_null(0)
    width = pl.when(pl.col("weight_family") == "fp8").then(1.0).otherwise(2.0)
    latent = pl.col("latent_head_elements") * (inputs + pl.col("hidden_size")) * width
    rotary = pl.col("rotary_head_elements") * inputs * 2.0
    size = constant("absorbs_mla_projections", bound) * (latent + rotary) / ranks
    return pl.when(pl.col("has_mla")).then(size).otherwise(0.0)


def untied_fp8_head_bytes() -> pl.Expr:
    """A head of its own that a tied model gets where FP8 checkpoints are loaded untied."""
    untied = pl.col("tied_embeddings") & (pl.col("weight_family") == "fp8")
    copy = pl.col("fp8_unties_head") * pl.col("embedding_parameters") * 2.0
    return pl.when(untied).then(copy).otherwise(0.0)


def silently_tied_head_bytes() -> pl.Expr:
    """The head of a model that only its outer class ties, in engines that follow the text part."""
    head = 2.0 * pl.col("embedding_parameters") / pl.col("tensor_parallel_size")
    return pl.when(pl.col("tied_silently")).then(head * pl.col("follows_text_tie")).otherwise(0.0)


def resident_bytes(bound: Bound = "expected") -> pl.Expr:
    """Buffers alive whatever the step does: libraries, towers, dequantised copies."""
    return (
        constant("activation_base_bytes", bound)
        + tower_bytes(bound)
        + quantised_scratch_bytes(bound)
        + prompt_buffer_bytes()
    )


def layer_rope_bytes() -> pl.Expr:
    """Rotary tables that each layer keeps of its own: layers x positions x width x bytes.

    Of the run's context (AutoAWQ), or of the longest of the model, made anew for a longer prompt
    (Transformers up to 4.40 to 4.47, modeling_qwen2.py Qwen2RotaryEmbedding._set_cos_sin_cache).
    """
    width = pl.col("rope_bytes_per_width") * pl.col("rotary_width").fill_null(0)
    longest = pl.max_horizontal("room_tokens", "max_position_embeddings")
    whole = pl.col("rope_spans_model_context") > 0
    positions = pl.when(whole).then(longest).otherwise("room_tokens")
    layers = pl.col("num_hidden_layers") / pl.col("pipeline_parallel_size")
    return width * positions * layers


def prompt_buffer_bytes() -> pl.Expr:
    """A 16-bit buffer of the widest MLP for the whole context, made once (ExLlama temp_state)."""
    return pl.col("has_prompt_buffer") * 2.0 * pl.col("room_tokens") * pl.col("widest_mlp")


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
    plain = pl.col("weight_family").fill_null("float") == "float"
    return pl.when(plain).then(0.0).otherwise(size)


def quantised_scratch_bytes(bound: Bound = "expected") -> pl.Expr:
    """16-bit buffers of weight-only kernels: dequantised matrices, AWQ's widest output."""
    output = (
        pl.col("awq_mlp_elements_per_token") * pl.col("widest_mlp") * pl.col("step_tokens") * 2.0
    )
    is_awq = pl.col("weight_format").str.starts_with("awq")
    return unpacked_matrix_bytes(bound) + pl.when(is_awq).then(output).otherwise(0.0)


def unpacked_matrix_bytes(bound: Bound = "expected") -> pl.Expr:
    """The largest matrix in 16 bits, for kernels that dequantise it before they multiply.

    GPTQ's ExLlama kernels keep a buffer for it; bitsandbytes unpacks each 4-bit matrix for more
    than one token (matmul_4bit), the head with it where the head is quantised.
    """
    name = pl.col("weight_format")
    matrix = pl.col("largest_linear_elements") * 2.0
    head = pl.col("embedding_parameters") * pl.col("quantises_head") * 2.0
    return (
        pl.when(name.str.starts_with("gptq-int4"))
        .then(pl.col("gptq_int4_scratch") * matrix)
        .when(name.str.starts_with("awq"))
        .then(constant("awq_scratch", bound) * matrix)
        .when((pl.col("weight_family") == "nf4") | (name == "fp4-bnb"))
        .then(constant("unpacks_nf4", bound) * pl.max_horizontal(matrix, head))
        .otherwise(0.0)
    )


def tower_weights_bytes() -> pl.Expr:
    """16-bit weights of vision and audio towers on one rank."""
    return 2.0 * pl.col("multimodal_parameters") / pl.col("tensor_parallel_size")


def embedding_on_cpu_bytes() -> pl.Expr:
    """The input embedding where an engine leaves it on the CPU and the head has its own tensor."""
    return pl.col("embedding_on_cpu") * pl.when(pl.col("tied_embeddings")).then(0.0).otherwise(
        "embedding_weights_bytes"
    )


def narrow_experts_extra_bytes(bound: Bound = "expected") -> pl.Expr:
    """What MXFP4 kernels hold beyond the padded experts: reordered scales and biases."""
    extra = constant("mxfp4_experts_extra_share", bound) * pl.col("experts_weights_bytes")
    return pl.when(pl.col("has_narrow_experts")).then(extra).otherwise(0.0)
