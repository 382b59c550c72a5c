"""Columns of the files of measured runs, by kind, and what their values must be."""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal["inference", "training", "throughput"]

TELLING: Final[dict[Kind, tuple[str, ...]]] = {
    "inference": ("id", "engine", "model", "weights_gib", "kv_cache_gib"),
    "training": ("id", "framework", "model", "metric", "measured_gib"),
    "throughput": ("id", "engine", "model", "ttft_ms", "tpot_ms"),
}
"""Columns that tell the kinds of files apart, and that a file must have."""

RUN_SETTINGS: Final = (
    "engine",
    "engine_version",
    "model",
    "weight_format",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "gpu_count",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_cache_dtype",
    "block_size",
    "gpu_memory_utilization",
    "enforce_eager",
    "gpu_layers",
)
"""What a log, the command line and a file of inference runs may all say."""
INFERENCE_COLUMNS: Final = (
    *RUN_SETTINGS,
    "gpu",
    "batch_size",
    "input_tokens",
    "output_tokens",
    "total_gpu_memory_gib",
    "weights_gib",
    "activation_peak_gib",
    "non_torch_gib",
    "cuda_graph_gib",
    "kv_cache_gib",
    "kv_cache_tokens",
    "total_gib",
    "total_metric",
    "scope",
    "notes",
    "score",
)
"""Columns of a file of measured inference runs, beside `id`."""

TRAINING_COLUMNS: Final = (
    "framework",
    "framework_version",
    "model",
    "method",
    "weight_format",
    "compute_dtype",
    "master_weights",
    "optimizer",
    "optimizer_state_dtype",
    "optimizer_in_backward",
    "lora_rank",
    "lora_targets",
    "micro_batch_size",
    "gradient_accumulation_steps",
    "sequence_tokens",
    "gradient_checkpointing",
    "attention",
    "loss_kernel",
    "torch_compile",
    "gpu",
    "gpu_count",
    "parallelism",
    "offload",
    "kbit_upcast",
    "metric",
    "scope",
    "measured_gib",
    "notes",
    "score",
)
THROUGHPUT_COLUMNS: Final = (
    "engine",
    "engine_version",
    "model",
    "gpu",
    "precision",
    "gemm_format",
    "moe_format",
    "concurrency",
    "batch_size",
    "input_tokens",
    "output_tokens",
    "tp_size",
    "pp_size",
    "attention_dp_size",
    "moe_tp_size",
    "moe_ep_size",
    "ttft_ms",
    "tpot_ms",
    "gpus_per_replica",
    "score",
)
COLUMNS: Final[dict[Kind, tuple[str, ...]]] = {
    "inference": INFERENCE_COLUMNS,
    "training": TRAINING_COLUMNS,
    "throughput": THROUGHPUT_COLUMNS,
}

FOR_PEOPLE: Final = frozenset({"case", "inferred", "quality", "source"})
"""Columns that say where a row comes from: not read, and nothing to remark."""

SIZES: Final = frozenset(
    {
        "gpu_count",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "max_model_len",
        "max_num_seqs",
        "max_num_batched_tokens",
        "block_size",
        "batch_size",
        "lora_rank",
        "micro_batch_size",
        "gradient_accumulation_steps",
        "sequence_tokens",
        "concurrency",
        "tp_size",
        "pp_size",
        "attention_dp_size",
        "moe_tp_size",
        "moe_ep_size",
        "gpus_per_replica",
    }
)
"""Whole numbers from 1 on."""

TOKENS: Final = frozenset({"input_tokens", "output_tokens", "gpu_layers"})
"""Whole numbers from 0 on."""

POSITIVE: Final = frozenset(
    {"gpu_memory_utilization", "total_gpu_memory_gib", "ttft_ms", "tpot_ms", "measured_gib"}
)
SIZES_MEASURED: Final = frozenset(
    {"weights_gib", "activation_peak_gib", "kv_cache_tokens", "total_gib"}
)
"""Figures from 0 on."""

DIFFERENCES: Final = frozenset({"non_torch_gib", "cuda_graph_gib", "kv_cache_gib"})
"""Figures that may be negative: engines print differences of free memory, or what is left of it."""

MEASURED: Final = SIZES_MEASURED | DIFFERENCES
COUNTS: Final = SIZES | TOKENS
NUMBERS: Final = COUNTS | POSITIVE | MEASURED
