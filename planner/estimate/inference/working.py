"""Working memory of an engine: the peak of a forward step or of the logits, graphs, and the rest.

Each function takes a bound and returns one expression in bytes; `constant` picks the profile's
value, low or high for it.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference import encoder, runner
from planner.estimate.inference.constants import INDEX_ENTRY_BYTES, constant
from planner.estimate.inference.host import has_head_on_gpu
from planner.estimate.inference.quantised import (
    is_unquantised,
    quantised_scratch_bytes,
    unpacks_awq,
)
from planner.estimate.ledger import Bound


def dense_layer_bytes(bound: Bound = "expected") -> pl.Expr:
    """Activations alive inside a layer with a dense MLP, for the tokens of a step.

    T x (a x hidden + b x widest MLP / TP) x element bytes, with a = 4 (residual, input, output,
    norm) and b = 3 (gate, up, product). Agrees with vLLM's profiling peak where the sampler's is
    smaller (T4, RTX 2060, long V0 prompts) and with the prefill of Transformers. The int8 product
    of bitsandbytes is made in int32 before it is dequantised (MatMul8bitLt). AutoAWQ from 0.2
    dequantises matrices for long steps and makes no partial sums (awq/modules/linear/gemm.py).
    """
    hidden = constant("hidden_elements_per_token", bound) * pl.col("hidden_size")
    width = pl.col("widest_mlp") / pl.col("tensor_parallel_size")
    wide = constant("int8_mlp_elements_per_token", bound)
    product = pl.when(pl.col("weight_format") == "int8-bnb").then(wide).otherwise(0.0)
    alive = pl.when(unpacks_awq()).then(constant("unpacked_mlp_elements_per_token", bound))
    mlp = alive.otherwise(constant("mlp_elements_per_token", bound))
    elements = hidden + (mlp + product) * width
    return pl.when(width > 0).then(of_step(elements, bound)).otherwise(0.0)


def of_step(elements: pl.Expr, bound: Bound) -> pl.Expr:
    """Bytes of so many elements for each token of a step."""
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


def latent_scratch_bytes(bound: Bound = "expected") -> pl.Expr:
    """Keys and values of one layer expanded from the MLA latent, for the whole context.

    In 16 bits, and in fp32 a few heads at a time, up to `latent_base_bytes`. vLLM from 0.11
    expands a chunk of the context at once: see expanded_chunk_bytes.
    """
    expanded = pl.col("expanded_layer_elements") * pl.col("room_tokens")
    wide = pl.min_horizontal(4.0 * expanded, constant("latent_base_bytes", bound))
    size = pl.col("expands_latent") * (2.0 * expanded + wide)
    return pl.when(pl.col("has_mla")).then(size).otherwise(0.0)


def expanded_chunk_bytes() -> pl.Expr:
    """Keys and values that profiling expands from the latents of a chunk of context.

    tokens x heads / TP x (nope + v) x bytes, with tokens = 8 contexts or 4 blocks a sequence, at
    most `expands_latent_chunk_tokens` and at least a block a sequence
    (vllm/v1/attention/backends/mla/common.py determine_chunked_prefill_workspace_size).
    """
    blocks = pl.col("step_sequences") * pl.col("block")
    wanted = pl.max_horizontal(8.0 * pl.col("room_tokens"), 4.0 * blocks)
    tokens = pl.min_horizontal(wanted, "expands_latent_chunk_tokens")
    elements = pl.col("latent_outputs") / pl.col("tensor_parallel_size")
    size = pl.max_horizontal(tokens, blocks) * elements * pl.col("activation_element_bytes")
    is_cut = (pl.col("expands_latent_chunk_tokens") > 0) & pl.col("has_mla")
    return pl.when(is_cut & (pl.col("indexer_elements") == 0)).then(size).otherwise(0.0)


def sparse_workspace_bytes() -> pl.Expr:
    """Buffers that sparse MLA keeps for a prefill: latents of some contexts, and index keys.

    a x context x (kv_lora_rank + rope) x bytes + b x context x bytes of an index key
    (flashmla_sparse.py, indexer.py get_max_prefill_buffer_size).
    """
    latent = pl.col("latent_elements").fill_null(0) * pl.col("activation_element_bytes")
    key = pl.col("largest_indexer_elements") * INDEX_ENTRY_BYTES
    size = pl.col("room_tokens") * (
        pl.col("sparse_workspace_contexts") * latent + pl.col("sparse_index_contexts") * key
    )
    is_sparse = pl.col("has_mla") & (pl.col("largest_indexer_elements") > 0)
    return pl.when(is_sparse).then(size).otherwise(0.0)


def tower_bytes(bound: Bound = "expected") -> pl.Expr:
    """What profiling a multimodal model adds: the pictures and what the encoder makes of them.

    Where a family's largest picture is not known: outputs beside their embeddings, and a range for
    the encoder.
    """
    kept = (
        constant("tower_elements_per_token", bound)
        * pl.col("step_tokens")
        * pl.col("hidden_size")
        * pl.col("activation_element_bytes")
    )
    size = kept + constant("tower_base_bytes", bound)
    unknown = pl.when(encoder.is_unknown()).then(size).otherwise(0.0)
    return pl.when(encoder.is_profiled()).then(encoder.kept_bytes(bound)).otherwise(unknown)


def logit_peak_bytes(bound: Bound = "expected") -> pl.Expr:
    """Logits of a step and what sampling makes of them: rows x vocabulary x bytes a logit.

    A model computing in fp32 makes logits of 4 bytes where `bytes_per_logit` counts 2. Where
    max_num_seqs is left to the engine, the lower bound takes the smaller of its defaults.
    """
    kept = pl.col("logit_rows_low" if bound == "low" else "logit_rows")
    rows = pl.when(has_head_on_gpu()).then(kept).otherwise(0.0)
    wider = pl.col("activation_element_bytes") - pl.col("element_bytes")
    return rows * pl.col("vocab_size") * (runner.bytes_per_logit(bound) + wider)


def step_output_bytes() -> pl.Expr:
    """Hidden states of a step, alive while its logits are made."""
    return pl.col("step_tokens") * pl.col("hidden_size") * pl.col("activation_element_bytes")


def graph_bytes(bound: Bound = "expected") -> pl.Expr:
    """CUDA graphs: a base, and buffers of every layer of this rank; none in eager mode.

    Base + layers x (a + b x hidden) + c x MLP widths / TP + experts chosen x d: hidden states are
    whole on every rank, the MLP's are cut. Agrees with 31 graphs of dense models in vLLM 0.19 at
    TP 1 to 4: median error 7 %, of nine in ten 10 % (14 % for models left out). The constants are
    for `graph_fitted_sizes` batch sizes; versions capture others, and with fewer sequences vLLM
    captures sizes up to twice their number, so the share is that of the captured sizes.
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
    return (
        pl.when(pl.col("enforce_eager").fill_null(False))
        .then(0.0)
        .otherwise(size * graph_size_share())
    )


def graph_size_share() -> pl.Expr:
    """Batch sizes that a run captures, over those the constants of its graphs are for."""
    fitted = pl.col("graph_fitted_sizes")
    all_sizes = pl.when(fitted > 0).then(fitted).otherwise(captured_sizes(None))
    share = captured_sizes("step_sequences") / all_sizes
    return pl.when(pl.col("graph_capture_limit_tokens") > 0).then(share).otherwise(1.0)


_DATACENTER_BLACKWELL: Final = (10.0, 11.0)


def captured_sizes(sequences: str | None) -> pl.Expr:
    """Batch sizes vLLM captures: 1, 2, 4, every 8th to a size, every 16th from it to the limit.

    Up to `graph_sizes_per_sequence` times `sequences` (0: whatever their number), or all of them
    where that is None. Datacenter cards of the Blackwell generation may have a limit of their own.
    """
    wide_cards = pl.col("compute_capability").is_between(*_DATACENTER_BLACKWELL, closed="left")
    of_card = pl.col("graph_capture_limit_blackwell_tokens")
    own = pl.when((of_card > 0) & wide_cards.fill_null(False)).then(of_card)
    limit = own.otherwise("graph_capture_limit_tokens")
    times = pl.col("graph_sizes_per_sequence")
    last = limit
    if sequences is not None:
        most = pl.when(times > 0).then(times * pl.col(sequences)).otherwise(limit)
        last = pl.min_horizontal(most, limit)
    small = pl.min_horizontal((last.log(2.0) + 1.0).floor(), 3.0)
    wide = pl.col("graph_wide_steps_from")
    eighths = pl.min_horizontal(last, wide - 8.0) // 8
    sixteenths = pl.max_horizontal((last - (wide - 16.0)) // 16, 0.0)
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
    """Tables of rotary angles that some engines keep: positions x rotary width x element bytes.

    Linear and dynamic scaling lengthen them by their factor: 0.5 GiB in Gemma 3.
    """
    plain = pl.col("max_position_embeddings").fill_null(0) * pl.col("rotary_width").fill_null(0)
    elements = pl.col("rotary_table_elements").fill_null(plain)
    return pl.col("has_rope_cache") * elements * pl.col("activation_element_bytes")


def absorbed_mla_bytes() -> pl.Expr:
    """16-bit copies of the two halves of kv_b_proj that absorbed MLA multiplies with.

    heads x latent x (nope + v) x 2 bytes, from quantised weights only: halves of a 16-bit matrix
    are views (vllm/v1/attention/backends/mla/common.py process_weights_after_loading).
    """
    elements = pl.col("absorbed_elements") / pl.col("tensor_parallel_size")
    copied = 2.0 * elements / pl.col("pipeline_parallel_size")
    return pl.col("has_absorbed_mla_copy") * pl.when(is_unquantised()).then(0.0).otherwise(copied)


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
        + runner.sampler_state_bytes(bound, inside=True)
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


def tower_weights_bytes() -> pl.Expr:
    """16-bit weights of vision and audio towers on one rank."""
    return 2.0 * pl.col("multimodal_parameters") / pl.col("tensor_parallel_size")


def skipped_towers_bytes() -> pl.Expr:
    """Towers that are not loaded where no request may bring a picture or a film."""
    none = (pl.col("images_per_prompt") == 0) & (pl.col("videos_per_prompt") == 0)
    skips = (pl.col("skips_unused_towers") > 0) & none.fill_null(False)
    return pl.when(skips).then(tower_weights_bytes()).otherwise(0.0)


def embedding_on_cpu_bytes() -> pl.Expr:
    """The input embedding where an engine leaves it on the CPU and the head has its own tensor."""
    return pl.col("embedding_on_cpu") * pl.when(pl.col("tied_embeddings")).then(0.0).otherwise(
        "embedding_weights_bytes"
    )
