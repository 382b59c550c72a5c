"""Launches for tests of exports."""

from __future__ import annotations

from typing import Any

from planner.interop.launch import Launch


def serving(**values: Any) -> Launch:
    """A cell that serves on one H100 with vLLM."""
    base: dict[str, Any] = {
        "model": "meta-llama/Llama-3.1-8B-Instruct", "workload": "chat", "method": "inference",
        "engine": "vllm", "engine_version": "0.19", "weight_format": "fp8", "dtype": "bfloat16",
        "kv_cache_dtype": "fp8", "context_tokens": 8192, "concurrent_sequences": 16,
        "gpu_memory_utilization": 0.92, "step_sequences": 256.0, "batched_tokens": 2048.0,
        "gpu": "h100-sxm-80gb", "gpu_count": 1, "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1, "data_parallel_size": 1, "expert_parallel_size": 1,
        "nodes": 1, "replicas": 1, "provider": "nebius", "purchase": "spot",
        "instance_type": "gpu-h100", "memory_gb": 80, "skypilot_name": "H100",
        "dstack_name": "H100",
    }  # fmt: skip
    return Launch({**base, **values})


def training(**values: Any) -> Launch:
    """A cell that tunes on one L40S with TRL."""
    base: dict[str, Any] = {
        "model": "meta-llama/Llama-3.1-8B-Instruct", "workload": "tune", "method": "full",
        "framework": "trl", "weight_format": "bf16", "optimizer": "adamw",
        "sequence_tokens": 2048, "micro_batch_size": 1, "gradient_accumulation_steps": 1,
        "gradient_checkpointing": "full", "attention": "flash", "loss_kernel": "none",
        "packing": False, "torch_compile": False, "offload": "none", "lora_rank": 16,
        "lora_targets": "all-linear", "lora_dropout": 0.0, "sharding": "none",
        "gpu": "l40s-48gb", "gpu_count": 1, "data_parallel_size": 1, "nodes": 1, "replicas": 1,
        "provider": "vast", "purchase": "on-demand", "skypilot_name": "L40S",
        "dstack_name": "L40S", "memory_gb": 48, "epochs": 3.0,
    }  # fmt: skip
    return Launch({**base, **values})
