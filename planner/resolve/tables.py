"""Facts as tables: what the estimators read, one LazyFrame a kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import polars as pl

from planner.resolve.facts import ROLES, Encoder, Layer, ModelFacts, Tensor

MODEL_SCHEMA: Final[dict[str, Any]] = {
    "model": pl.String,
    "model_type": pl.String,
    "hidden_size": pl.Int64,
    "vocab_size": pl.Int64,
    "num_hidden_layers": pl.Int64,
    "tied_embeddings": pl.Boolean,
    "tied_silently": pl.Boolean,
    "state_element_bytes_named": pl.Int64,
    "rotary_table_elements": pl.Int64,
    "dtype": pl.String,
    "logit_softcap": pl.Boolean,
    "max_position_embeddings": pl.Int64,
    "quantization_method": pl.String,
    "checkpoint_weight_format": pl.String,
    "stored_bytes": pl.Int64,
    "parameters": pl.Int64,
    "text_parameters": pl.Int64,
    "active_parameters": pl.Int64,
    "quantisable_parameters": pl.Int64,
    **{f"{role}_parameters": pl.Int64 for role in ROLES},
    **{f"encoder_{field.name}": pl.Int64 for field in fields(Encoder)},
}
_STRING_FIELDS: Final = ("mixer", "mlp")
_BOOL_FIELDS: Final = (
    "kv_shared",
    "qk_norm",
    "softcap",
    "attention_bias",
    "fused_qkv",
    "fused_gate_up",
    "layer_norm",
    "parallel_residual",
    "norm_weight_fp32",
    "composed_activation",
    "residual_dropout",
    "attention_dropout",
)


def _layer_dtype(name: str) -> Any:
    if name in _STRING_FIELDS:
        return pl.String
    return pl.Boolean if name in _BOOL_FIELDS else pl.Int64


LAYER_SCHEMA: Final[dict[str, Any]] = {
    "model": pl.String,
    "layer_index": pl.Int64,
    **{field.name: _layer_dtype(field.name) for field in fields(Layer)},
}
TENSOR_SCHEMA: Final[dict[str, Any]] = {
    "model": pl.String,
    "tensor_index": pl.Int64,
    "name": pl.String,
    "leaf": pl.String,
    "role": pl.String,
    "kind": pl.String,
    "split": pl.String,
    "numel": pl.Int64,
    "count": pl.Int64,
    "in_features": pl.Int64,
    "out_features": pl.Int64,
    "tied": pl.Boolean,
    "shape": pl.List(pl.Int64),
    "layers": pl.List(pl.Int64),
    "copies": pl.Int64,
    "checkpoint_format": pl.String,
}


@dataclass(frozen=True, slots=True)
class Tables:
    """Every fact the estimators may need, as LazyFrames. Columns: see the modules that fill them.

    `models`, `layers` and `tensors` come from the facts of the models in use; `gpus`, `formats`,
    `optimizers`, `engines` and `frameworks` from the catalogs.
    """

    models: pl.LazyFrame
    layers: pl.LazyFrame
    tensors: pl.LazyFrame
    gpus: pl.LazyFrame
    formats: pl.LazyFrame
    optimizers: pl.LazyFrame
    engines: pl.LazyFrame
    frameworks: pl.LazyFrame
    gpu_formats: pl.LazyFrame | None = None
    speed: pl.LazyFrame | None = None


def models_frame(facts: Iterable[ModelFacts]) -> pl.DataFrame:
    """One row a model: sizes and parameter counts (MODEL_SCHEMA)."""
    return pl.DataFrame([_model_row(model) for model in facts], schema=MODEL_SCHEMA, orient="row")


def _model_row(facts: ModelFacts) -> dict[str, Any]:
    return {
        "model": facts.model,
        "model_type": facts.model_type,
        "hidden_size": facts.hidden_size,
        "vocab_size": facts.vocab_size,
        "num_hidden_layers": facts.num_hidden_layers,
        "tied_embeddings": facts.tied_embeddings,
        "tied_silently": facts.tied_silently,
        "state_element_bytes_named": facts.state_element_bytes,
        "rotary_table_elements": facts.rotary_table_elements,
        "dtype": facts.dtype,
        "logit_softcap": facts.logit_softcap,
        "max_position_embeddings": facts.max_position_embeddings,
        "quantization_method": facts.quantization_method,
        "checkpoint_weight_format": checkpoint_weight_format(facts),
        "stored_bytes": facts.stored_bytes,
        "parameters": facts.parameters,
        "text_parameters": facts.text_parameters,
        "active_parameters": facts.active_parameters,
        "quantisable_parameters": facts.quantisable_parameters,
        **{f"{role}_parameters": n for role, n in facts.parameters_by_role().items()},
        **{f"encoder_{name}": value for name, value in _encoder_row(facts.encoder).items()},
    }


def _encoder_row(encoder: Encoder | None) -> dict[str, int | None]:
    names = (field.name for field in fields(Encoder))
    return {name: None if encoder is None else getattr(encoder, name) for name in names}


_DTYPE_FORMATS: Final = {
    "bfloat16": "bf16", "bf16": "bf16", "float16": "fp16", "fp16": "fp16", "half": "fp16",
    "float32": "fp32", "fp32": "fp32",
}  # fmt: skip


def checkpoint_weight_format(facts: ModelFacts) -> str | None:
    """The format that most parameters of the checkpoint are stored in; None where not known."""
    sizes: dict[str, int] = {}
    parameters = {tensor.name: tensor.parameters for tensor in facts.tensors}
    for group in facts.quantization:
        held = sum(parameters.get(name, 0) for name in group.tensors)
        sizes[group.format] = sizes.get(group.format, 0) + held
    if sizes:
        return max(sizes, key=lambda name: (sizes[name], name))
    return _DTYPE_FORMATS.get(facts.dtype)


def layers_frame(facts: Iterable[ModelFacts]) -> pl.DataFrame:
    """One row a decoder layer: every field of `facts.Layer` (LAYER_SCHEMA)."""
    names = [field.name for field in fields(Layer)]
    rows = [
        {"model": model.model, "layer_index": index, **{n: getattr(layer, n) for n in names}}
        for model in facts
        for index, layer in enumerate(model.layers)
    ]
    return pl.DataFrame(rows, schema=LAYER_SCHEMA, orient="row")


def tensors_frame(facts: Iterable[ModelFacts]) -> pl.DataFrame:
    """One row a group of equal tensors in one storage format (TENSOR_SCHEMA).

    A group of which the checkpoint quantises only some layers becomes two rows.
    """
    rows = [
        {"model": model.model, "tensor_index": index, **row}
        for model in facts
        for index, row in enumerate(_tensor_rows(model))
    ]
    return pl.DataFrame(rows, schema=TENSOR_SCHEMA, orient="row")


def _tensor_rows(facts: ModelFacts) -> Iterator[dict[str, Any]]:
    stored = _stored_formats(facts)
    for tensor in facts.tensors:
        for layers, stored_format in _split_by_format(tensor, stored.get(tensor.name, {})):
            yield {
                "name": tensor.name,
                "leaf": tensor.leaf,
                "role": tensor.role,
                "kind": tensor.kind,
                "split": tensor.split,
                "numel": tensor.numel,
                "count": max(len(layers), tensor.copies),
                "in_features": tensor.in_features,
                "out_features": tensor.out_features,
                "tied": tensor.tied,
                "shape": list(tensor.shape),
                "layers": list(layers),
                "copies": tensor.copies,
                "checkpoint_format": stored_format,
            }


def _stored_formats(facts: ModelFacts) -> dict[str, dict[int | None, str]]:
    """Tensor name -> decoder layer (None: all of them) -> format id."""
    stored: dict[str, dict[int | None, str]] = {}
    for group in facts.quantization:
        for name in group.tensors:
            layers: Iterable[int | None] = (None,) if group.layers is None else group.layers
            stored.setdefault(name, {}).update(dict.fromkeys(layers, group.format))
    return stored


def _split_by_format(
    tensor: Tensor, stored: Mapping[int | None, str]
) -> Iterator[tuple[tuple[int, ...], str | None]]:
    if not tensor.layers:
        yield (), stored.get(None)
        return
    by_format: dict[str | None, list[int]] = {}
    for layer in tensor.layers:
        by_format.setdefault(stored.get(layer, stored.get(None)), []).append(layer)
    for stored_format, layers in by_format.items():
        yield tuple(layers), stored_format
