"""Tables for tests of the inference estimator: small models by hand, the shipped catalogs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from planner.catalog.load import load_catalog
from planner.resolve.arch.read import read_config
from planner.resolve.engines import engines_frame
from planner.resolve.facts import ModelFacts
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame

GIB = 2**30
LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
QWEN_1_5B: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
GEMMA_2B: dict[str, Any] = {
    "model_type": "gemma2",
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 256000,
    "max_position_embeddings": 8192,
    "sliding_window": 4096,
    "dtype": "bfloat16",
}
MIXTRAL: dict[str, Any] = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
DEEPSEEK_LITE: dict[str, Any] = {
    "model_type": "deepseek_v2",
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "vocab_size": 102400,
    "max_position_embeddings": 163840,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
CONFIGS = {
    "llama-8b": LLAMA_8B,
    "qwen-1.5b": QWEN_1_5B,
    "gemma-2b": GEMMA_2B,
    "mixtral": MIXTRAL,
    "deepseek-lite": DEEPSEEK_LITE,
}


def facts(name: str, **changes: Any) -> ModelFacts:
    """Facts of one of CONFIGS, with fields replaced."""
    return read_config({**CONFIGS[name], **changes}, model=name, source="test")


def tables(models: Iterable[ModelFacts], engines: Iterable[tuple[str, str | None]] = ()) -> Tables:
    """Tables of these models and engine versions."""
    listed = tuple(models)
    catalog = load_catalog()
    empty = pl.LazyFrame()
    return Tables(
        models=models_frame(listed).lazy(),
        layers=layers_frame(listed).lazy(),
        tensors=tensors_frame(listed).lazy(),
        gpus=catalog.gpus.lazy(),
        formats=catalog.formats.lazy(),
        optimizers=empty,
        engines=engines_frame(engines).lazy(),
        frameworks=empty,
    )


def cell(**columns: Any) -> dict[str, Any]:
    """An inference cell on one 79.19 GiB card, with columns replaced."""
    card = columns.pop("card_gib", 79.19)
    usable = {
        f"usable_{end}bytes": None if card is None else card * GIB for end in ("low_", "", "high_")
    }
    return {
        "model": "llama-8b",
        "weight_format": "bf16",
        "engine": "vllm",
        "engine_version": "0.19.0",
        "context_tokens": 8192,
        "concurrent_sequences": 1,
        "gpu": "h100-sxm-80gb",
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        **usable,
        **columns,
    }
