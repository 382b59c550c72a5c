"""Sizes of LoRA adapters: which modules a set of targets reaches, and their parameters.

A pair of matrices for each adapted linear layer holds `rank * (in_features + out_features)`
parameters (LoRA, arXiv 2106.09685, section 4.1); rank-stabilised scaling changes no size. DoRA adds
one magnitude for each output (arXiv 2402.09353). Fused experts follow peft 0.21: every expert has
its own pair, the joined gate and up projection at twice the rank, and the names of the MLP's
matrices then mean the experts: dense and shared MLPs of such a model stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from planner.resolve.facts import ModelFacts, Tensor

ALL_LINEAR: Final = "all-linear"
ALL_ATTENTION: Final = "all-attention"
ALL_LINEAR_EXPERTS: Final = "all-linear+experts"
_ATTENTION_LEAVES: Final = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})
_MLP_LEAVES: Final = frozenset({"gate_proj", "up_proj", "down_proj", "gate_up_proj"})
_SPLIT = re.compile(r"[;,\s]+")


@dataclass(frozen=True, slots=True)
class LoraModule:
    """Adapted modules of one name, shape and rank.

    `count` modules, one for each of `layers` (or outside the stack), times the experts of a fused
    weight; `role` is the role of the weight underneath.
    """

    leaf: str
    name: str
    role: str
    in_features: int
    out_features: int
    count: int
    layers: tuple[int, ...]
    rank: int
    magnitudes: int = 0

    @property
    def parameters(self) -> int:
        """Trainable parameters of all these modules."""
        pair = self.rank * (self.in_features + self.out_features)
        return (pair + self.magnitudes) * self.count


def target_list(targets: str | Sequence[str]) -> tuple[str, ...]:
    """Targets as a tuple; a string may hold several, split by comma, semicolon or space."""
    items = _SPLIT.split(targets) if isinstance(targets, str) else targets
    return tuple(item for item in items if item)


def lora_modules(
    facts: ModelFacts,
    rank: int,
    targets: str | Sequence[str],
    *,
    rank_pattern: Mapping[str, int] | None = None,
    dora: bool = False,
) -> tuple[LoraModule, ...]:
    """The modules that an adapter of this rank and these targets trains.

    Args:
        facts: the model.
        rank: of every pair that `rank_pattern` does not name.
        targets: module names (`q_proj`, `self_attn.q_proj`, `layers.3.mlp.down_proj`, `lm_head`,
            `embed_tokens`), `all-linear` (the text model's linear layers outside the head),
            `all-attention`, or `all-linear+experts` (fused experts and their routers too).
        rank_pattern: ranks of modules whose name a regular expression matches at its end.
        dora: with a magnitude for each output.
    """
    wanted = target_list(targets)
    found: list[LoraModule] = []
    fused = ALL_LINEAR_EXPERTS in wanted and any(t.kind == "experts" for t in facts.tensors)
    for tensor in facts.tensors:
        if tensor.kind == "experts" or (tensor.role == "router" and tensor.kind == "other"):
            if ALL_LINEAR_EXPERTS in wanted and tensor.name.endswith(("proj", ".weight")):
                found += _expert_modules(facts, tensor, rank)
            continue
        if tensor.kind not in ("linear", "embedding") or not tensor.name.endswith(".weight"):
            continue
        chosen = _layers_wanted(tensor, wanted)
        if chosen is None or (fused and tensor.leaf in _MLP_LEAVES):
            continue
        found += _by_rank(tensor, chosen, rank, rank_pattern or {}, dora)
    return tuple(found)


def lora_parameters(
    facts: ModelFacts,
    rank: int,
    targets: str | Sequence[str],
    *,
    rank_pattern: Mapping[str, int] | None = None,
    dora: bool = False,
    modules_to_save: Sequence[str] = (),
) -> int:
    """Trainable parameters of an adapter; `modules_to_save` are trained whole, as copies."""
    modules = lora_modules(facts, rank, targets, rank_pattern=rank_pattern, dora=dora)
    saved = sum(
        tensor.numel * tensor.count
        for tensor in facts.tensors
        if any(_ends_with(tensor.module, name) for name in modules_to_save)
    )
    return sum(module.parameters for module in modules) + saved


def missing_targets(facts: ModelFacts, targets: str | Sequence[str]) -> tuple[str, ...]:
    """Targets that name no module of the model; an adapter library refuses such a list."""
    special = {ALL_LINEAR, ALL_ATTENTION, ALL_LINEAR_EXPERTS}
    return tuple(
        target
        for target in target_list(targets)
        if target not in special
        and not any(
            tensor.kind in ("linear", "embedding") and _layers_wanted(tensor, (target,)) is not None
            for tensor in facts.tensors
        )
    )


def target_names(facts: ModelFacts) -> tuple[str, ...]:
    """Names of the text model's linear layers, for messages."""
    return tuple(
        sorted(
            {
                tensor.leaf
                for tensor in facts.tensors
                if tensor.kind == "linear" and tensor.role not in ("multimodal", "lm_head")
            }
        )
    )


def _ends_with(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _layers_wanted(tensor: Tensor, wanted: Sequence[str]) -> tuple[int, ...] | None:
    """The layers in which the tensor's module is a target; None where it is none at all."""
    if tensor.role == "multimodal":
        return None
    inner = tensor.kind == "linear" and tensor.role != "lm_head"
    whole = inner and (ALL_LINEAR in wanted or ALL_LINEAR_EXPERTS in wanted)
    attends = tensor.role == "attention" or (
        tensor.role == "mixer" and tensor.leaf in _ATTENTION_LEAVES
    )
    if whole or (inner and attends and ALL_ATTENTION in wanted):
        return tensor.layers
    if any(_ends_with(tensor.module, name) for name in wanted):
        return tensor.layers
    numbered = [name for name in wanted if any(part.isdigit() for part in name.split("."))]
    layers = tuple(
        i
        for i in tensor.layers
        if any(_ends_with(tensor.module.replace("{i}", str(i)), name) for name in numbered)
    )
    return layers or None


def _by_rank(
    tensor: Tensor,
    layers: tuple[int, ...],
    rank: int,
    patterns: Mapping[str, int],
    dora: bool,
) -> Iterator[LoraModule]:
    """One row for each rank that the patterns give the tensor's layers."""
    ranks: dict[int, list[int]] = {}
    for i in layers or (-1,):
        name = tensor.module.replace("{i}", str(i))
        own = next((r for key, r in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), rank)
        ranks.setdefault(own, []).append(i)
    rows, width = tensor.shape if len(tensor.shape) == 2 else (0, 0)
    embedded = tensor.kind == "embedding"
    n_in, n_out = (rows, width) if embedded else (tensor.in_features, tensor.out_features)
    for own, indices in ranks.items():
        inside = tuple(i for i in indices if i >= 0)
        yield LoraModule(
            leaf=tensor.leaf,
            name=tensor.module,
            role=tensor.role,
            in_features=n_in,
            out_features=n_out,
            count=len(inside) or tensor.copies,
            layers=inside,
            rank=own,
            magnitudes=n_out if dora else 0,
        )


def _expert_modules(facts: ModelFacts, tensor: Tensor, rank: int) -> Iterator[LoraModule]:
    """Pairs of fused experts and of a router that is a bare weight."""
    if tensor.kind == "other":
        if len(tensor.shape) == 2:
            yield LoraModule(
                leaf=tensor.leaf,
                name=tensor.module,
                role=tensor.role,
                in_features=tensor.shape[1],
                out_features=tensor.shape[0],
                count=tensor.count,
                layers=tensor.layers,
                rank=rank,
            )
        return
    if len(tensor.shape) != 3:
        return
    last = tensor.name.rpartition(".")[2]
    yield LoraModule(
        leaf=last,
        name=tensor.name,
        role=tensor.role,
        in_features=tensor.in_features,
        out_features=tensor.out_features,
        count=tensor.shape[0] * tensor.count,
        layers=tensor.layers,
        rank=2 * rank if last == "gate_up_proj" else rank,
    )
