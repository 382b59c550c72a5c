"""Small tables for tests of the speed model: two toy models, real GPUs and formats."""

from __future__ import annotations

from typing import Any

import polars as pl

from planner.catalog import load_catalog
from planner.resolve.arch import read_config
from planner.resolve.speed import speed_frame
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame

DENSE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 131072,
}
EXPERTS = {
    "model_type": "qwen3_moe",
    "architectures": ["Qwen3MoeForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 40960,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "norm_topk_prob": True,
}


def speed_tables(**constants: float) -> Tables:
    """Tables with the toy models `dense` and `experts`; `constants` replace speed constants."""
    facts = [
        read_config(config, model=name, source="test")
        for name, config in (("dense", DENSE), ("experts", EXPERTS))
    ]
    catalog = load_catalog()
    speed = speed_frame().with_columns(
        pl.lit(value).alias(name) for name, value in constants.items()
    )
    empty = pl.LazyFrame()
    return Tables(
        models=models_frame(facts).lazy(),
        layers=layers_frame(facts).lazy(),
        tensors=tensors_frame(facts).lazy(),
        gpus=catalog.gpus.lazy(),
        formats=catalog.formats.lazy(),
        optimizers=empty,
        engines=empty,
        frameworks=empty,
        speed=speed.lazy(),
    )


def cells(**columns: Any) -> pl.LazyFrame:
    """One cell a value of the longest column, with defaults for the rest."""
    given: dict[str, Any] = {
        "model": "dense",
        "weight_format": "bf16",
        "gpu": "h100-sxm-80gb",
        "engine": "vllm",
        "concurrent_sequences": 1,
        "input_tokens": 1000.0,
        "output_tokens": 200.0,
        "tensor_parallel_size": 1,
    } | columns
    rows = max(len(v) if isinstance(v, list) else 1 for v in given.values())
    return pl.LazyFrame(
        {name: v if isinstance(v, list) else [v] * rows for name, v in given.items()}
    )
