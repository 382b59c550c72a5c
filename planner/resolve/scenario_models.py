"""The models of a scenario become facts; what the facts forbid becomes problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from planner.catalog.load import Catalog
from planner.documents import Document
from planner.errors import InputProblems, OutsideFailure, PlannerError, Problem, did_you_mean
from planner.resolve.facts import Layer, ModelFacts, Tensor
from planner.resolve.lock import Lock, lock_path, read_lock
from planner.resolve.lora import missing_targets, target_names
from planner.resolve.models import find_record, resolve_model
from planner.scenario.axes import ADAPTER_METHODS
from planner.scenario.model import ModelReference, Scenario, Workload


def resolve_models(
    scenario: Scenario, document: Document, catalog: Catalog
) -> tuple[ModelFacts, ...]:
    """Facts of every model in use, in order of first use; then of those that only draft tokens.

    Raises:
        InputProblems: a model can't be read, or its facts forbid what the scenario asks.
        OutsideFailure: a locked model's record is missing or does not match.
    """
    facts, problems = _read_all(_references(scenario), scenario, document, catalog)
    for workload in scenario.workloads:
        problems.extend(_too_long(workload, facts, document))
        problems.extend(_absent_targets(workload, facts, document))
    if problems:
        raise InputProblems(problems)
    return tuple(facts.values())


def _draft_models(workload: Workload) -> tuple[ModelReference, ...]:
    """The model that drafts tokens for the workload's own, where there is one."""
    draft = workload.engine.draft_model
    return (ModelReference(draft, (*workload.path, "engine", "draft_model")),) if draft else ()


def own_model_problems(scenario: Scenario, document: Document, catalog: Catalog) -> list[Problem]:
    """What is wrong with the model files that the scenario itself names."""
    own = [reference for reference in _references(scenario) if reference.config]
    return _read_all(own, scenario, document, catalog)[1]


def _references(scenario: Scenario) -> list[ModelReference]:
    """Every model in use once, in order of first use."""
    unique: dict[tuple[str, str | None], ModelReference] = {}
    for workload in scenario.workloads:
        for reference in workload.models:
            unique.setdefault((reference.model, reference.config), reference)
    listed = {model for model, _ in unique}
    drafts = {draft.model: draft for w in scenario.workloads for draft in _draft_models(w)}
    return [*unique.values(), *(d for name, d in drafts.items() if name not in listed)]


def _read_all(
    references: Iterable[ModelReference], scenario: Scenario, document: Document, catalog: Catalog
) -> tuple[dict[str, ModelFacts], list[Problem]]:
    facts: dict[str, ModelFacts] = {}
    problems: list[Problem] = []
    for reference in references:
        path = (*reference.path, "config") if reference.config else reference.path
        try:
            facts[reference.model] = model_facts(reference, scenario, catalog)
        except OutsideFailure:
            raise
        except InputProblems as error:
            for problem in error.problems:
                if problem.code == "unreadable" and not problem.line:
                    message = f"{reference.config or reference.model}: {problem.message}"
                    problem = document.problem(path, "unreadable-model", message, problem.hint)
                problems.append(problem)
        except PlannerError as error:
            hint = str(getattr(error, "hint", ""))
            message = str(getattr(error, "message", "")) or str(error)
            problems.append(document.problem(path, "unreadable-model", message, hint))
    return facts, problems


def model_facts(reference: ModelReference, scenario: Scenario, catalog: Catalog) -> ModelFacts:
    """Facts of one model: by its sizes, its own config, the lock, or the catalog.

    Raises:
        PlannerError: the model is unknown or its config can't be read.
    """
    if reference.sizes:
        return facts_from_sizes(reference.model, reference.sizes)
    config = Path(reference.config) if reference.config else None
    return resolve_model(
        reference.model,
        config=config,
        catalog=catalog,
        lock=scenario_lock(scenario.folder / f"{scenario.stem}.yaml"),
        base=scenario.folder,
        assume_like=reference.assume_like,
    )


def scenario_lock(path: Path) -> Lock | None:
    """The lock file of a scenario: its own, else the one of its folder; None without either."""
    file = lock_path(path)
    return read_lock(file) if file.exists() else None


def known_beyond_catalog(name: str, path: Path) -> bool:
    """Whether the lock or the records beside a scenario know the model."""
    lock = scenario_lock(path)
    return (lock is not None and name in lock) or find_record(name, path.parent) is not None


def facts_from_sizes(model: str, sizes: Mapping[str, int]) -> ModelFacts:
    """Facts of a model known only by its parameter count and a few sizes (rule of thumb).

    Where heads are not given, K and V are as wide as the hidden state.
    """
    hidden = sizes.get("hidden_size", 0)
    heads = sizes.get("num_attention_heads", 0)
    kv_heads = sizes.get("num_key_value_heads", heads)
    head_dim = sizes.get("head_dim", hidden // heads if heads else 0)
    kv_width = kv_heads * head_dim or hidden
    layer = Layer(
        "full",
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        kv_elements_per_token=2 * kv_width,
        kv_expanded_elements_per_token=2 * kv_width,
    )
    return ModelFacts(
        model=model,
        model_type="sizes",
        architecture="",
        hidden_size=hidden,
        vocab_size=0,
        tied_embeddings=False,
        dtype="bfloat16",
        max_position_embeddings=None,
        tensors=(Tensor("weights", (sizes["parameters"],), "other", "other"),),
        layers=(layer,) * sizes.get("num_hidden_layers", 0),
        source="sizes in the scenario",
        assumptions=() if heads else ("K and V are assumed as wide as the hidden state",),
    )


def _absent_targets(
    workload: Workload, facts: Mapping[str, ModelFacts], document: Document
) -> Iterator[Problem]:
    """LoRA targets that name no module of a model: PEFT would refuse them too."""
    if not set(ADAPTER_METHODS) & set(workload.methods):
        return
    named = workload.lora.targets.split(";")
    for reference in workload.models:
        model = facts.get(reference.model)
        if model is None or reference.sizes:
            continue
        for target in missing_targets(model, named):
            yield document.problem(
                (*workload.path, "lora", "targets"),
                "unknown-target",
                f"{reference.model} has no linear layer '{target}'",
                did_you_mean(target, target_names(model))
                or f"it has {', '.join(sorted(target_names(model)))}",
            )


def _too_long(
    workload: Workload, facts: Mapping[str, ModelFacts], document: Document
) -> Iterator[Problem]:
    """Lengths above a model's maximum, unless the workload allows them."""
    if workload.allow_longer_context:
        return
    for axis in ("context_tokens", "sequence_tokens"):
        limits = {
            reference.model: limit
            for reference in workload.models
            if reference.model in facts
            and (limit := facts[reference.model].max_position_embeddings) is not None
        }
        if not limits:
            continue
        if axis in workload.fixed:
            place = (*workload.path, axis)
            if place not in document.values:
                place = (*workload.path, "demand")
            lengths = [(place, workload.fixed[axis])]
        else:
            path = (*workload.path, "matrix", axis)
            lengths = [
                ((*path, index) if (*path, index) in document.values else path, value)
                for index, value in enumerate(workload.matrix.get(axis, ()))
            ]
        for where, value in lengths:
            short = {m: limit for m, limit in limits.items() if int(value) > limit}
            if short:
                model, limit = min(short.items(), key=lambda item: item[1])
                others = f" and {len(short) - 1} more" if len(short) > 1 else ""
                yield document.problem(
                    where,
                    "context-too-long",
                    f"{value:,} tokens are above the {limit:,} of {model}{others}",
                    "set allow_longer_context: true if the context is extended",
                )
