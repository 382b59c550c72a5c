"""How each item of the training ledger is computed, in words, for `explain`."""

from __future__ import annotations

from typing import Final

from planner.estimate.ledger import Term

ORACLE: Final = "training oracle: real transformers and peft classes, one step on fake tensors"

TERMS: Final[tuple[Term, ...]] = (
    Term(
        "weights",
        "weights",
        "{base_bytes} / {weight_shards} + {peak_gathered_bytes}",
        ("base_bytes", "weight_shards", "peak_gathered_bytes"),
        "weights by rank; layers gathered by FSDP or ZeRO-3 at the binding phase",
    ),
    Term(
        "adapter",
        "adapter",
        "{trained_parameters} x {trained_element_bytes} B / {weight_shards}",
        ("trained_parameters", "trained_element_bytes", "weight_shards"),
        "rank x (in + out) of every targeted linear; DoRA adds its magnitudes (peft)",
    ),
    Term(
        "gradients",
        "gradients",
        "{peak_gradients_bytes} of {trained_parameters} x {gradient_element_bytes} B"
        " / {gradient_shards}",
        ("peak_gradients_bytes", "trained_parameters", "gradient_element_bytes", "gradient_shards"),
        f"the part that exists at the binding phase; {ORACLE}",
    ),
    Term(
        "optimizer",
        "optimizer",
        "{updated_parameters} x {state_element_bytes} B + {peak_step_bytes}",
        ("updated_parameters", "state_element_bytes", "peak_step_bytes"),
        "states of the optimizers catalog, and temporaries of the step where it binds",
    ),
    Term(
        "activations",
        "activations",
        "{peak_activations_bytes} at the binding phase: layers keep {layers_saved_bytes},"
        " one layer's backward pass needs {layer_backward_bytes}",
        ("peak_activations_bytes", "layers_saved_bytes", "layer_backward_bytes"),
        ORACLE,
    ),
    Term(
        "logits",
        "logits",
        "{peak_logits_bytes} at the binding phase of {logit_elements} logits at"
        " {compute_element_bytes} B and their fp32 copies",
        ("peak_logits_bytes", "logit_elements", "compute_element_bytes"),
        f"{ORACLE}; fms runs for fused and older losses",
    ),
    Term(
        "communication",
        "overhead",
        "gradient buckets of DDP ({trained_parameters} x {gradient_element_bytes} B) or ZeRO",
        ("trained_parameters", "gradient_element_bytes"),
        "torch DDP keeps gradients in flat buckets; DeepSpeed's reduce_bucket_size",
    ),
    Term(
        "workspace",
        "overhead",
        "two cuBLAS workspaces",
        (),
        "getChosenWorkspaceSize of torch: 8.125 MiB, 32 MiB on Hopper",
    ),
    Term(
        "allocator_reserve",
        "overhead",
        "shares of {loss_logits_bytes}, {layer_backward_bytes} and {layers_saved_bytes}",
        ("loss_logits_bytes", "layer_backward_bytes", "layers_saved_bytes"),
        "training_allocator.yaml: fitted on measured runs by attention and loss kernel",
    ),
    Term(
        "cuda_context",
        "overhead",
        "context of the framework's preset, NCCL on several GPUs",
        (),
        "frameworks.yaml: measured 141 MiB (T4, torch 2.10) to 1343 MiB (V100, 2022)",
    ),
)
