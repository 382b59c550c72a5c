"""Working memory of layers that route to experts."""

from __future__ import annotations

import polars as pl

from planner.estimate.inference.constants import constant
from planner.estimate.inference.working import of_step
from planner.estimate.ledger import Bound


def expert_layer_bytes(bound: Bound = "expected") -> pl.Expr:
    """The same of a layer that routes to experts, whose buffers are counted apart.

    All of a x hidden where the buffers are freed layer by layer, residual and output (a / 2) where
    an engine writes into kept ones; and the shared experts.
    """
    alive = 1.0 - 0.5 * pl.col("holds_moe_workspace")
    hidden = constant("hidden_elements_per_token", bound) * alive * pl.col("hidden_size")
    shared = pl.col("shared_width") / pl.col("tensor_parallel_size")
    elements = hidden + constant("mlp_elements_per_token", bound) * shared
    return pl.when(pl.col("moe_layers") > 0).then(of_step(elements, bound)).otherwise(0.0)


def moe_workspace_bytes(bound: Bound = "expected") -> pl.Expr:
    """Buffers of the fused expert kernels: gate and up, their product, and the outputs.

    T x top_k x elements, with w = expert width on this rank and K = hidden size, by
    `moe_cache_layout`: 0, 2w + max(w, K), all apart (llama.cpp); 1, max(2w, K) + w, first and last
    result in one cache (vllm fused_moe.py fused_experts_impl up to 0.13); 2, max(2w, K) +
    max(w, K), the workspaces of modular kernels (TritonExperts.workspace_shapes). Kernels for
    4-bit floats bring their own, smaller ones.
    """
    ep, tp = pl.col("expert_parallel_size"), pl.col("tensor_parallel_size")
    cut = pl.when(ep > 1).then(pl.max_horizontal(tp // ep, 1)).otherwise(tp)
    width = pl.col("expert_width") / cut
    layout, outputs = pl.col("moe_cache_layout"), pl.max_horizontal(width, "hidden_size")
    shared = pl.max_horizontal(2 * width, "hidden_size")
    elements = (
        pl.when(layout == 0)
        .then(2 * width + outputs)
        .otherwise(shared + pl.when(layout == 1).then(width).otherwise(outputs))
    )
    chunk = pl.col("moe_chunk_tokens")
    step = pl.col("step_tokens")
    at_once = pl.when(chunk > 0).then(pl.min_horizontal(step, chunk)).otherwise(step)
    routed = at_once * pl.col("experts_per_token") * elements
    size = constant("moe_workspace_share", bound) * routed * pl.col("activation_element_bytes")
    return pl.when(pl.col("has_narrow_experts")).then(0.0).otherwise(size)


def grouped_expert_bytes(bound: Bound = "expected") -> pl.Expr:
    """Tokens sorted by expert for one grouped product: S = T x top_k rows.

    Before the second product the inputs, gate and up, the activated gate and the product are alive
    (c x K + 4 x N); at the end the inputs, outputs, weighted outputs and those in order ((c + 3) x
    K), and the first product's results where names keep them (3 x N). c counts copies of the
    inputs: two in 5.0, then one (transformers/integrations/moe.py grouped_mm_experts_forward).
    """
    copies = constant("grouped_expert_inputs", bound)
    hidden, width = pl.col("hidden_size"), pl.col("expert_width") / pl.col("tensor_parallel_size")
    gate = copies * hidden + 4.0 * width
    end = (copies + 3.0) * hidden + constant("keeps_expert_products", bound) * 3.0 * width
    rows = pl.col("experts_per_token") * pl.max_horizontal(gate, end)
    is_grouped = (copies > 0) & ~pl.col("has_narrow_experts") & (pl.col("moe_layers") > 0)
    return pl.when(is_grouped).then(of_step(rows, bound)).otherwise(0.0)


def narrow_experts_extra_bytes(bound: Bound = "expected") -> pl.Expr:
    """What MXFP4 kernels hold beyond the padded experts: reordered scales and biases."""
    extra = constant("mxfp4_experts_extra_share", bound) * pl.col("experts_weights_bytes")
    return pl.when(pl.col("has_narrow_experts")).then(extra).otherwise(0.0)
