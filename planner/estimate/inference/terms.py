"""What each item of the inference ledger is made of, for `explain`."""

from __future__ import annotations

from typing import Final

from planner.estimate.inference.resident import weights_formula
from planner.estimate.ledger import Term

TERMS: Final[tuple[Term, ...]] = (
    Term(
        "weights",
        "weights",
        *weights_formula(),
        "tensors of the model by storage format; engine profile",
    ),
    Term(
        "adapter",
        "adapter",
        "{lora_adapters} x 2 x rank {slot_rank} x ({column_in} + {column_out} /"
        " {tensor_parallel_size} + {row_in} / {tensor_parallel_size} + {row_out}) /"
        " {pipeline_parallel_size}[ + {adapter_ends_bytes} of embedding and head]",
        (
            "adapter_ends_bytes",
            "lora_adapters",
            "slot_rank",
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
        " {activation_element_bytes} + {activation_base_bytes}[ + {sampler_inside_bytes} of the"
        " sampler's tables], where the forward step is the peak, else its output alone[; the step"
        " at least {activation_floor_bytes}, for compiling or a warm-up][; {moe_layers} layers'"
        " experts and their buffers on top][; or the encoder's {profiled_items} items of"
        " {item_tokens} tokens and {item_rows} rows of {encoder_hidden_size}] ({engine_profile})",
        (
            "step_tokens",
            "hidden_elements_per_token",
            "hidden_size",
            "mlp_elements_per_token",
            "widest_mlp",
            "tensor_parallel_size",
            "activation_element_bytes",
            "activation_base_bytes",
            "sampler_inside_bytes",
            "activation_floor_bytes",
            "moe_layers",
            "profiled_items",
            "item_tokens",
            "item_rows",
            "encoder_hidden_size",
            "engine_profile",
        ),
        "engine profile: profiling peaks in engine logs",
    ),
    Term(
        "logits",
        "logits",
        "{logit_rows} rows x {vocab_size} x {step_bytes_per_logit}, where sampling is the peak"
        " ({engine_profile})",
        ("logit_rows", "vocab_size", "step_bytes_per_logit", "engine_profile"),
        "engine profile: profiling peaks in engine logs",
    ),
    Term(
        "kv_cache",
        "kv_cache",
        "{stored_sequences} sequences x {room_tokens} tokens x {kv_bytes_per_token}, windows and"
        " blocks of {block} applied; in a decode step x {decode_cache_copies}",
        ("stored_sequences", "room_tokens", "kv_bytes_per_token", "block", "decode_cache_copies"),
        "layers of the model: cached elements x {cache_element_bytes}",
    ),
    Term(
        "recurrent_state",
        "recurrent_state",
        "{sequences} x {state_bytes}",
        ("sequences", "state_bytes"),
        "convolution and state-space state of the recurrent layers",
    ),
    Term(
        "cuda_context",
        "overhead",
        "{context_bytes} ({engine_profile})",
        ("context_bytes", "engine_profile"),
        "engine profile: memory in use before loading",
    ),
    Term(
        "cuda_graphs",
        "overhead",
        "{graph_base_bytes} + {num_hidden_layers} / {pipeline_parallel_size} x ({graph_layer_bytes}"
        " + {hidden_size} x {graph_hidden_bytes} + MLP width / {tensor_parallel_size} x"
        " {graph_mlp_bytes}) + expert layers {moe_layers} x ({experts_per_token} x"
        " {graph_expert_bytes} + {graph_moe_layer_bytes}), the share of captured batch sizes"
        " up to 2 x {step_sequences} ({engine_profile})",
        (
            "graph_base_bytes",
            "num_hidden_layers",
            "pipeline_parallel_size",
            "graph_layer_bytes",
            "hidden_size",
            "graph_hidden_bytes",
            "tensor_parallel_size",
            "graph_mlp_bytes",
            "moe_layers",
            "experts_per_token",
            "graph_expert_bytes",
            "graph_moe_layer_bytes",
            "step_sequences",
            "engine_profile",
        ),
        "engine profile: graph memory in engine logs",
    ),
    Term(
        "communication",
        "overhead",
        "buffers of {tensor_parallel_size} tensor-parallel ranks over {interconnect}"
        " ({engine_profile})",
        ("tensor_parallel_size", "interconnect", "engine_profile"),
        "engine profile: non-torch memory in engine logs",
    ),
    Term(
        "workspace",
        "overhead",
        "{non_torch_bytes} ({engine_profile})",
        ("non_torch_bytes", "engine_profile"),
        "engine profile: non-torch memory in engine logs",
    ),
    Term(
        "staging",
        "overhead",
        "[{loaded_twice_bytes} of a second copy of the tied embedding while loading]"
        "[{sampler_tables_bytes} of the sampler's tables, outside the memory fraction]",
        ("loaded_twice_bytes", "sampler_tables_bytes"),
        "engine profile",
    ),
    Term(
        "allocator_reserve",
        "overhead",
        "{allocator_reserve_share} of what is allocated ({engine_profile})",
        ("allocator_reserve_share", "engine_profile"),
        "reserved over allocated memory in measured runs",
    ),
)
"""One entry an item; operands are columns of the estimator's frame."""
