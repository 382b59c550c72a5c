"""What each item of the inference ledger is made of, for `explain`."""

from __future__ import annotations

from typing import Final

from planner.estimate.ledger import Term

TERMS: Final[tuple[Term, ...]] = (
    Term(
        "weights",
        "weights",
        "{rank_weights_bytes} of the rank's tensors in {weight_format}, with the engine's rotary"
        " table and copies, less {cpu_offload_gib} GiB kept on the CPU",
        ("rank_weights_bytes", "weight_format", "cpu_offload_gib"),
        "tensors of the model by storage format; engine profile",
    ),
    Term(
        "adapter",
        "adapter",
        "{lora_adapters} x 2 x rank {lora_rank} x ({column_in} + {column_out} /"
        " {tensor_parallel_size} + {row_in} / {tensor_parallel_size} + {row_out}) /"
        " {pipeline_parallel_size}",
        (
            "lora_adapters",
            "lora_rank",
            "column_in",
            "column_out",
            "tensor_parallel_size",
            "row_in",
            "row_out",
            "pipeline_parallel_size",
        ),
        "16-bit LoRA buffers of every linear and slot",
    ),
    Term(
        "activations",
        "activations",
        "{step_tokens} tokens x ({hidden_elements_per_token} x {hidden_size} +"
        " {mlp_elements_per_token} x {widest_mlp} / {tensor_parallel_size}) x"
        " {activation_element_bytes} + {activation_base_bytes}, where the forward step is the peak;"
        " experts' and towers' buffers on top",
        (
            "step_tokens",
            "hidden_elements_per_token",
            "hidden_size",
            "mlp_elements_per_token",
            "widest_mlp",
            "tensor_parallel_size",
            "activation_element_bytes",
            "activation_base_bytes",
        ),
        "engine profile: profiling peaks in engine logs",
    ),
    Term(
        "logits",
        "logits",
        "{logit_rows} rows x {vocab_size} x {bytes_per_logit}, where sampling is the peak",
        ("logit_rows", "vocab_size", "bytes_per_logit"),
        "engine profile: profiling peaks in engine logs",
    ),
    Term(
        "kv_cache",
        "kv_cache",
        "{stored_sequences} sequences x {room_tokens} tokens x {kv_bytes_per_token}, windows and"
        " blocks of {block} applied",
        ("stored_sequences", "room_tokens", "kv_bytes_per_token", "block"),
        "layers of the model: cached elements x {cache_element_bytes}",
    ),
    Term(
        "recurrent_state",
        "recurrent_state",
        "{sequences} x {state_bytes}",
        ("sequences", "state_bytes"),
        "convolution and state-space state of the recurrent layers",
    ),
    Term("cuda_context", "overhead", "{context_bytes}", ("context_bytes",), "engine profile"),
    Term(
        "cuda_graphs",
        "overhead",
        "{graph_base_bytes} + {num_hidden_layers} / {pipeline_parallel_size} x {graph_layer_bytes}"
        " + expert layers {moe_layers} x {graph_moe_layer_bytes}",
        (
            "graph_base_bytes",
            "num_hidden_layers",
            "pipeline_parallel_size",
            "graph_layer_bytes",
            "moe_layers",
            "graph_moe_layer_bytes",
        ),
        "engine profile: graph memory in engine logs",
    ),
    Term(
        "communication",
        "overhead",
        "buffers of {tensor_parallel_size} tensor-parallel ranks over {interconnect}",
        ("tensor_parallel_size", "interconnect"),
        "engine profile: non-torch memory in engine logs",
    ),
    Term("workspace", "overhead", "{non_torch_bytes}", ("non_torch_bytes",), "engine profile"),
    Term(
        "staging",
        "overhead",
        "second copy of the tied embedding while loading",
        (),
        "engine profile",
    ),
    Term(
        "allocator_reserve",
        "overhead",
        "{allocator_reserve_share} of what is allocated",
        ("allocator_reserve_share",),
        "reserved over allocated memory in measured runs",
    ),
)
"""One entry an item; operands are columns of the estimator's frame."""
