"""Small models and cells for the tests of the training estimator."""

from __future__ import annotations

from typing import Any

import polars as pl

from planner.catalog.load import load_catalog
from planner.estimate.training import estimate_training
from planner.resolve.arch import read_config
from planner.resolve.frameworks import frameworks_frame, optimizers_frame
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame

CONFIGS: dict[str, dict[str, Any]] = {
    "llama-8b": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    },
    "llama-1b": {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    },
    "mixtral": {
        "model_type": "mixtral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "torch_dtype": "bfloat16",
    },
}
BASE: dict[str, Any] = {
    "case_id": "case",
    "model": "llama-1b",
    "method": "full",
    "weight_format": "bf16",
    "framework": "oracle",
    "sequence_tokens": 2048,
    "micro_batch_size": 1,
    "gradient_checkpointing": "none",
    "attention": "sdpa",
}


def tables() -> Tables:
    """Tables of the test models over the shipped catalogs."""
    facts = [read_config(config, model=name, source="test") for name, config in CONFIGS.items()]
    catalog = load_catalog()
    return Tables(
        models=models_frame(facts).lazy(),
        layers=layers_frame(facts).lazy(),
        tensors=tensors_frame(facts).lazy(),
        gpus=catalog.gpus.lazy(),
        formats=catalog.formats.lazy(),
        optimizers=optimizers_frame().lazy(),
        engines=pl.LazyFrame(),
        frameworks=frameworks_frame().lazy(),
    )


def cell(**changes: Any) -> dict[str, Any]:
    """One cell: the base with changes."""
    return {**BASE, **changes}


def estimate(*cells: dict[str, Any], known: Tables | None = None) -> list[dict[str, Any]]:
    """Estimates of the cells, in order."""
    frame = pl.DataFrame(list(cells), infer_schema_length=None).lazy()
    return estimate_training(frame, known or tables()).collect(engine="in-memory").to_dicts()
