"""From a `config.json` to the facts record."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache

from planner.errors import did_you_mean
from planner.resolve.arch import (
    families_dense,
    families_gemma,
    families_gpt,
    families_hybrid,
    families_mla,
    families_moe,
    families_moe_more,
)
from planner.resolve.arch.config import (
    Config,
    ConfigProblem,
    UnknownModelType,
    class_table,
    top_config,
)
from planner.resolve.arch.decoder import write_decoder
from planner.resolve.arch.family import Family
from planner.resolve.arch.sheet import flag
from planner.resolve.facts import ModelFacts

TYPE_ALIASES = {"kimi_k2": "deepseek_v3"}


@cache
def families() -> dict[str, Family]:
    """Family by model type."""
    modules = (
        families_dense,
        families_gemma,
        families_gpt,
        families_hybrid,
        families_mla,
        families_moe,
        families_moe_more,
    )
    return {name: family for m in modules for family in m.FAMILIES for name in family.types}


def known_model_types() -> tuple[str, ...]:
    """Every `model_type` that can be read without the derive extra."""
    return tuple(sorted({*families(), *TYPE_ALIASES}))


def read_config(
    config: Mapping[str, object],
    *,
    model: str,
    source: str,
    include_mtp: bool = False,
    hf_quant_config: Mapping[str, object] | None = None,
) -> ModelFacts:
    """The facts of the model that a Hugging Face config file describes.

    Args:
        config: the parsed `config.json`.
        model: the name it goes by, for messages and the record.
        source: where the config came from, for the record.
        include_mtp: count multi-token-prediction layers, which engines load only for speculative
            decoding.
        hf_quant_config: the parsed `hf_quant_config.json` beside it, if there is one.

    Raises:
        UnknownModelType: no description covers its `model_type`.
        ConfigProblem: a field is missing, contradicts another, or has the wrong type.
    """
    try:
        return _read(config, model, source, include_mtp, hf_quant_config)
    except (ConfigProblem, UnknownModelType) as error:
        raise type(error)(f"{model}: {error}") from None
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        raise ConfigProblem(
            f"{model}: the config cannot be read as type"
            f" '{config.get('model_type')}': {type(error).__name__}: {error}"
        ) from error


def model_type_of(config: Mapping[str, object]) -> str:
    """The config's model type in the reader's spelling, or an error with ways on."""
    raw = config.get("model_type")
    if raw is None:
        raise ConfigProblem("the config has no 'model_type'; add it, or use --assume-like TYPE")
    if not isinstance(raw, str):
        raise ConfigProblem(f"model_type must be a string, not {raw!r:.60}")
    name = TYPE_ALIASES.get(raw, raw)
    if name not in known_model_types():
        hint = did_you_mean(raw, known_model_types())
        raise UnknownModelType(
            f"unknown model_type '{raw}'{'; ' + hint if hint else ''}; two ways on: --derive makes"
            " the facts from the real class (needs planner[derive]), --assume-like TYPE reads the"
            " config as a type that is known"
        )
    return name


def _read(
    data: Mapping[str, object],
    model: str,
    source: str,
    include_mtp: bool,
    hf_quant_config: Mapping[str, object] | None,
) -> ModelFacts:
    kind = model_type_of(data)
    if kind == "mistral" and "layer_types" in data:
        kind = "ministral"
    config = top_config(data, kind)
    family = families()[kind]
    if config.get("add_cross_attention"):
        raise config.problem("add_cross_attention: a decoder with cross-attention is not covered")
    tied = bool(config.get("tie_word_embeddings", False))
    decoder = write_decoder(family, config, root=family.root, tied=tied, head=family.head)
    architectures = data.get("architectures")
    first = architectures[0] if isinstance(architectures, Sequence) and architectures else ""
    context = config.first("max_position_embeddings", "max_seq_len", "seq_length")
    return ModelFacts(
        model=model,
        model_type=str(data["model_type"]),
        architecture=str(first),
        hidden_size=int(config.hidden_size),
        vocab_size=int(config.vocab_size),
        tied_embeddings=tied,
        dtype=str(data.get("dtype") or data.get("torch_dtype") or ""),
        max_position_embeddings=context,
        tensors=tuple(decoder.tensors),
        layers=tuple(decoder.layers),
        source=source,
        logit_softcap=flag(config, family.logit_softcap),
        assumptions=tuple(config.assumptions),
    )
