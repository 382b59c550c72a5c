"""Facts of any model that transformers can build: the real class on the meta device.

Needs the optional extra `planner[derive]`. No weights are read and no remote code runs: only
classes of the installed transformers are built, and the meta device allocates nothing.
"""

from __future__ import annotations

import importlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.resolve.derive_names import module_kind, role_of, tower_of
from planner.resolve.facts import Layer, Mixer, ModelFacts, Split, Tensor, TensorKind

_QUANT_KEYS = ("quantization_config", "compression_config", "auto_map")
_FUSED_NAMES = ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "W_pack", "wqkv")
_INDEX = re.compile(r"\.(\d+)(?=\.)")


class DeriveUnavailable(PlannerError):
    """The extra is not installed, or transformers cannot build the model."""


def derive_facts(config: Mapping[str, Any], *, model: str, source: str) -> ModelFacts:
    """The facts of the model that a config describes, from its real class.

    Raises:
        DeriveUnavailable: torch and transformers are missing, or no class builds the config.
    """
    try:
        torch: Any = importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise DeriveUnavailable(
            f"{model}: --derive needs torch and transformers ({error.name} is missing);"
            " install planner[derive]"
        ) from None
    real = _build(config, model, transformers, torch)
    text = real.config.get_text_config(decoder=True)
    depth = int(getattr(text, "num_hidden_layers", 0) or 0)
    stack = _stack_name(real, depth)
    tensors = _tensors(real, stack, depth)
    head = real.get_output_embeddings()
    table = real.get_input_embeddings()
    tied = head is not None and getattr(head, "weight", None) is getattr(table, "weight", 0)
    architectures = config.get("architectures") or [type(real).__name__]
    return ModelFacts(
        model=model,
        model_type=str(config.get("model_type", "")),
        architecture=str(architectures[0]),
        hidden_size=int(getattr(text, "hidden_size", 0) or table.weight.shape[1]),
        vocab_size=int(table.weight.shape[0]),
        tied_embeddings=bool(tied),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or ""),
        max_position_embeddings=getattr(text, "max_position_embeddings", None),
        tensors=tuple(tensors),
        layers=tuple(_layers(text, depth, tensors)),
        source=f"{source}; derived from {type(real).__name__} of transformers"
        f" {transformers.__version__}",
        assumptions=("what a layer computes and caches is inferred from its modules' names",),
    )


def _build(config: Mapping[str, Any], model: str, transformers: Any, torch: Any) -> Any:
    """The model on the meta device, of the class that its architecture asks for."""
    plain = json.loads(json.dumps(dict(config)))
    for part in (plain, plain.get("text_config")):
        if isinstance(part, dict):
            for key in _QUANT_KEYS:
                part.pop(key, None)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(plain), encoding="utf-8")
        try:
            real_config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:
            raise DeriveUnavailable(
                f"{model}: transformers cannot read the config: {error}"
            ) from None
    names = ["AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForMultimodalLM"]
    if "ConditionalGeneration" in str((config.get("architectures") or [""])[0]):
        names = [*names[1:], names[0]]
    reasons = []
    for name in names:
        auto = getattr(transformers, name, None)
        if auto is None or type(real_config) not in auto._model_mapping:
            continue
        try:
            with torch.device("meta"):
                real = auto.from_config(real_config, trust_remote_code=False)
            real.tie_weights()
            return real
        except Exception as error:
            reasons.append(f"{name}: {error}")
    raise DeriveUnavailable(
        f"{model}: transformers builds no text-generation class from the config;"
        f" {'; '.join(reasons) or 'no class is registered for it'}"
    )


def _stack_name(real: Any, depth: int) -> str:
    """The module list that holds the decoder layers."""
    for name, module in real.named_modules():
        listed = type(module).__name__ == "ModuleList" and len(module) == depth
        if listed and not tower_of(name) and re.search(r"(layers|h|blocks)$", name):
            return str(name)
    return ""


def _tensors(real: Any, stack: str, depth: int) -> list[Tensor]:
    """Parameters, those of alike names in the stack's layers joined."""
    modules = dict(real.named_modules())
    seen: set[int] = set()
    held: dict[tuple[Any, ...], list[int]] = {}
    for name, parameter in real.named_parameters(remove_duplicate=False):
        tied = id(parameter) in seen
        seen.add(id(parameter))
        module = modules.get(name.rpartition(".")[0])
        kind = module_kind(name, parameter, module)
        inside = bool(stack) and name.startswith(f"{stack}.")
        index = -1
        if inside:
            number, _, rest = name[len(stack) + 1 :].partition(".")
            index, open_name = int(number), f"{stack}.{{i}}.{rest}"
        else:
            open_name = _INDEX.sub(".{j}", name)
        key = (open_name, tuple(parameter.shape), kind, tied, _features(parameter, module, kind))
        held.setdefault(key, []).append(index)
    tensors = []
    for (name, shape, kind, tied, (n_in, n_out)), indices in held.items():
        layers = tuple(i for i in indices if i >= 0)
        tensors.append(
            Tensor(
                name=name,
                shape=shape,
                role=role_of(name),
                kind=kind,
                split=_split(name, kind),
                layers=layers,
                copies=1 if layers else len(indices),
                in_features=n_in,
                out_features=n_out,
                tied=tied,
            )
        )
    return tensors


def _features(parameter: Any, module: Any, kind: TensorKind) -> tuple[int, int]:
    shape = tuple(parameter.shape)
    if kind == "linear":
        return (shape[0], shape[1]) if type(module).__name__ == "Conv1D" else (shape[1], shape[0])
    if kind == "experts" and len(shape) == 3:
        return shape[2], shape[1]
    return 0, 0


def _split(name: str, kind: TensorKind) -> Split:
    if kind == "experts":
        return "experts"
    if kind == "embedding" or "lm_head" in name:
        return "vocab"
    if kind != "linear":
        return "replicated"
    if re.search(r"\.(o_proj|out_proj|down_proj|dense|c_proj|w2|fc2|wo)\.", name):
        return "row"
    return "kv" if re.search(r"\.(k_proj|v_proj)\.", name) else "column"


def _layers(text: Any, depth: int, tensors: list[Tensor]) -> list[Layer]:
    """What each layer computes, as far as the names of its parameters say."""
    heads = int(getattr(text, "num_attention_heads", 0) or 0)
    hidden = int(getattr(text, "hidden_size", 0) or 0)
    dim = int(getattr(text, "head_dim", 0) or (hidden // heads if heads else 0))
    types = getattr(text, "layer_types", None) or []
    layers = []
    for i in range(depth):
        own = [tensor for tensor in tensors if i in tensor.layers]
        width = {tensor.leaf: tensor.out_features for tensor in own if tensor.kind == "linear"}
        latent = "kv_a_proj_with_mqa" in width
        kv = width.get("k_proj", 0) + width.get("v_proj", width.get("k_proj", 0))
        fused = next((width[name] for name in _FUSED_NAMES if name in width), 0)
        if not kv and fused:
            kv = fused - heads * dim
        if latent:
            kv = width["kv_a_proj_with_mqa"]
        recurrent = any(tensor.name.endswith(("A_log", "dt_bias")) for tensor in own)
        kind = types[i] if i < len(types) else ""
        local = kind == "sliding_attention"
        mixer: Mixer = "mla" if latent else "sliding" if local else "full" if kv else "none"
        if recurrent and not kv:
            mixer = "mamba2"
        experts = [tensor for tensor in own if tensor.kind == "experts"]
        count = experts[0].shape[0] if experts else 0
        layers.append(
            Layer(
                mixer=mixer,
                window_tokens=getattr(text, "sliding_window", None) if local else None,
                num_attention_heads=heads if kv else 0,
                num_key_value_heads=kv // (2 * dim) if kv and dim and not latent else heads,
                head_dim=dim,
                v_head_dim=dim,
                kv_elements_per_token=kv,
                kv_expanded_elements_per_token=kv,
                mlp="moe" if experts else "gated" if "gate_proj" in width else "plain",
                intermediate_size=width.get("up_proj", 0),
                num_experts=count,
                num_experts_per_tok=int(getattr(text, "num_experts_per_tok", 0) or count),
                moe_intermediate_size=experts[0].out_features // 2 if experts else 0,
            )
        )
    return layers
