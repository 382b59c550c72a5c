"""From a `config.json` to the facts record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.errors import did_you_mean
from planner.resolve.arch.config import Config, ConfigProblem, UnknownModelType, top_config
from planner.resolve.arch.decoder import write_decoder
from planner.resolve.arch.families.known import families
from planner.resolve.arch.family import Family
from planner.resolve.arch.known import (
    EARLIER_FIELDS,
    EARLIER_NAMES,
    TYPE_ALIASES,
    TYPES_BY_CLASS,
    known_model_types,
)
from planner.resolve.arch.multimodal.known import composites
from planner.resolve.arch.multimodal.texts import text_config
from planner.resolve.arch.rotary import rotary_table_elements
from planner.resolve.arch.sheet import Sheet, flag, tensors_of
from planner.resolve.facts import ModelFacts
from planner.resolve.quantization import read_quantization

# What odd values in a config file end in, wherever they are met.
UNREADABLE = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
)


def read_config(
    config: Mapping[str, object],
    *,
    model: str,
    source: str,
    include_mtp: bool = False,
    hf_quant_config: Mapping[str, object] | None = None,
    assume_like: str | None = None,
) -> ModelFacts:
    """The facts of the model that a Hugging Face config file describes.

    Args:
        config: the parsed `config.json`.
        model: the name it goes by, for messages and the record.
        source: where the config came from, for the record.
        include_mtp: count multi-token-prediction layers, which engines load only for speculative
            decoding.
        hf_quant_config: the parsed `hf_quant_config.json` beside it, if there is one.
        assume_like: read the config as this known type, whatever it says; recorded.

    Raises:
        UnknownModelType: no description covers its `model_type`.
        ConfigProblem: a field is missing, contradicts another, or has the wrong type.
    """
    if assume_like is not None:
        return _assumed(config, assume_like, model, source, include_mtp, hf_quant_config)
    try:
        return _read(config, model, source, include_mtp, hf_quant_config)
    except (ConfigProblem, UnknownModelType) as error:
        raise type(error)(f"{model}: {error}") from None
    except UNREADABLE as error:
        raise ConfigProblem(
            f"{model}: the config cannot be read as type"
            f" '{config.get('model_type')}': {type(error).__name__}: {error}"
        ) from error


def _assumed(
    config: Mapping[str, object],
    like: str,
    model: str,
    source: str,
    include_mtp: bool,
    hf_quant_config: Mapping[str, object] | None,
) -> ModelFacts:
    """The facts of a config read as another type than the one it names."""
    facts = read_config(
        {**config, "model_type": like},
        model=model,
        source=source,
        include_mtp=include_mtp,
        hf_quant_config=hf_quant_config,
    )
    named = str(config.get("model_type", ""))
    note = f"model_type '{named}' is read as '{like}', as asked"
    return replace(facts, model_type=named, assumptions=(*facts.assumptions, note))


def model_type_of(config: Mapping[str, object]) -> str:
    """The config's model type in the reader's spelling, or an error with ways on."""
    raw = config.get("model_type")
    if raw is None:
        raise ConfigProblem("the config has no 'model_type'; add it, or use --assume-like TYPE")
    if not isinstance(raw, str):
        raise ConfigProblem(f"model_type must be a string, not {raw!r:.60}")
    name = TYPES_BY_CLASS.get((raw, first_architecture(config)), TYPE_ALIASES.get(raw, raw))
    if name not in known_model_types():
        hint = did_you_mean(raw, known_model_types())
        raise UnknownModelType(
            f"unknown model_type '{raw}'{'; ' + hint if hint else ''}; two ways on: --derive makes"
            " the facts from the real class (needs planner[derive]), --assume-like TYPE reads the"
            " config as a type that is known"
        )
    return name


def _in_current_names(data: Mapping[str, object]) -> Mapping[str, object]:
    """The config with fields of earlier files under the names of the class they are read as."""
    raw = str(data["model_type"])
    names = EARLIER_NAMES.get(raw, {})
    renamed = {name: data[old] for old, name in names.items() if old in data}
    return {**EARLIER_FIELDS.get(raw, {}), **data, **renamed}


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
    config = top_config(_in_current_names(data), kind)
    if kind != data["model_type"] and kind != "ministral":
        config.assume(f"model_type '{data['model_type']}' is read as '{kind}'")
    composite = composites().get(kind)
    if composite is None:
        text, beside, encoder = config, [], None
        family = families()[kind]
        root, head = family.root, family.head
        tied = family.always_tied or bool(config.get("tie_word_embeddings", False))
        silently = False
    else:
        if composite.inside:
            config.assume(f"only the {composite.inside} part is counted: the text it generates")
            config = config.sub(composite.inside)
        text = text_config(config, composite)
        alone = composite.text_class and first_architecture(data).endswith("ForCausalLM")
        family = text_family(text)
        root, head = composite.text_root, composite.head
        if alone:
            root, head = family.root, family.head
            config.assume("the class named is that of the text model alone: no towers are counted")
        flags = {
            "top": bool(config.get("tie_word_embeddings", False)),
            "text": bool(text.get("tie_word_embeddings", False)),
        }
        rule = "text" if alone else composite.tie
        tied = any(flags.values()) if rule == "either" else flags[rule]
        silently = tied and not flags["text"] and not config.given("tie_word_embeddings")
        sheet = Sheet(composite.prefix, role="multimodal", norms="layer", whole=True)
        if not alone:
            composite.parts(config, text, sheet)
        beside = tensors_of([((), sheet.entries)])
        largest = None if alone else composite.encoder
        encoder = None if largest is None else largest(config, text)
    if text.get("add_cross_attention"):
        raise text.problem("add_cross_attention: a decoder with cross-attention is not covered")
    mtp = mtp_layers(text) if include_mtp else 0
    decoder = write_decoder(family, text, root=root, tied=tied, head=head, mtp_layers=mtp)
    tensors = (*decoder.tensors, *beside)
    quantized, method, notes = read_quantization(
        data, tensors, decoder.layers, model_type=kind, hf_quant_config=hf_quant_config
    )
    return ModelFacts(
        model=model,
        model_type=str(data["model_type"]),
        architecture=first_architecture(data),
        hidden_size=int(text.hidden_size),
        vocab_size=int(text.vocab_size),
        tied_embeddings=tied,
        tied_silently=silently,
        state_element_bytes=_state_width(text),
        rotary_table_elements=rotary_table_elements(text, decoder.layers),
        dtype=dtype_of(data, text),
        max_position_embeddings=text.first(
            "max_position_embeddings", "max_seq_len", "seq_length", "n_positions"
        ),
        tensors=tensors,
        layers=tuple(decoder.layers),
        source=source,
        logit_softcap=flag(text, family.logit_softcap),
        encoder=encoder,
        quantization=quantized,
        quantization_method=method,
        assumptions=tuple(config.assumptions),
        notes=notes,
    )


def _state_width(text: Config) -> int | None:
    """Bytes of an element of recurrent state, where the config asks engines for a dtype."""
    named = text.first("mamba_ssm_dtype", "mamba_ssm_cache_dtype", default=None)
    return {"float32": 4, "bfloat16": 2, "float16": 2}.get(str(named).removeprefix("torch."))


def text_family(text: Config) -> Family:
    """The family of a text model inside a multimodal one."""
    family = families().get(text.model_type)
    if family is None:
        raise UnknownModelType(
            f"unknown model_type '{text.model_type}' of the text model; --derive makes the facts"
            " from the real class (needs planner[derive])"
        )
    return family


def mtp_layers(text: Config) -> int:
    """Layers that predict further tokens, which a checkpoint holds beside the stack."""
    return int(
        text.first(
            "num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", default=0
        )
    )


def first_architecture(data: Mapping[str, object]) -> str:
    """The class named in the config, or an empty string."""
    names = data.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def dtype_of(data: Mapping[str, object], text: Config) -> str:
    """The stored dtype, from the top or the text config, by either spelling."""
    found = data.get("dtype") or data.get("torch_dtype") or text.first("dtype", "torch_dtype")
    return str(found or "").removeprefix("torch.")
