"""A validated scenario: what the user wrote, with names resolved and defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model as named in the scenario; `path` is its place in the document.

    `sizes` are the few figures of a model known only by name (rule-of-thumb only).
    """

    model: str
    path: tuple[str | int, ...]
    config: str | None = None
    assume_like: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Engine:
    """The serving engine; None leaves a setting to the profile of the version."""

    name: str
    version: str | None = None
    gpu_memory_utilization: float | None = None
    enforce_eager: bool | None = None
    block_size: int | None = None
    prefix_cache_share: float | None = None
    cpu_offload_gib: float | None = None
    lora_adapters: int | None = None
    lora_rank: int | None = None
    gpu_layers: int | None = None
    draft_model: str | None = None
    speculative_tokens: int | None = None
    speculative_acceptance: float | None = None
    images_per_prompt: int | None = None
    videos_per_prompt: int | None = None


@dataclass(frozen=True, slots=True)
class Lora:
    """What the adapters attach to; the rank is an axis."""

    targets: str = "all-linear"
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Demand:
    """Load of a serving workload, or size of a training run. None: not given.

    The load is a rate, or `concurrent_users` of whom each sends the next request
    `seconds_between_requests` after the last answer.
    """

    requests_per_second: float | None = None
    concurrent_users: float | None = None
    seconds_between_requests: float = 0.0
    peak_factor: float = 1.0
    target_utilisation: float | None = None
    input_tokens_mean: float | None = None
    input_tokens_p95: float | None = None
    output_tokens_mean: float | None = None
    output_tokens_p95: float | None = None
    training_tokens: int | None = None
    epochs: float = 1.0
    runs_per_month: float = 1.0

    @property
    def is_load(self) -> bool:
        """Whether it says how much is asked of a serving workload."""
        return self.requests_per_second is not None or self.concurrent_users is not None


@dataclass(frozen=True, slots=True)
class Objectives:
    """What users must feel, in milliseconds. None: no objective."""

    time_to_first_token_ms: float | None = None
    time_per_output_token_ms: float | None = None
    end_to_end_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to run.

    `fixed` holds the axes with one value, `matrix` the varying ones in declared order; both use
    resolved names. `for_each` lists the axes of which every value is bought.
    """

    name: str
    tags: tuple[str, ...]
    models: tuple[ModelReference, ...]
    fixed: Mapping[str, Value]
    matrix: Mapping[str, tuple[Value, ...]]
    include: tuple[Mapping[str, Value], ...]
    exclude: tuple[Mapping[str, Value], ...]
    for_each: tuple[str, ...]
    engine: Engine
    framework: str
    lora: Lora
    demand: Demand | None
    objectives: Objectives
    allow_longer_context: bool
    path: tuple[str | int, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the workload, in declared order."""
        if "method" in self.matrix:
            return tuple(str(value) for value in self.matrix["method"])
        return (str(self.fixed["method"]),)


@dataclass(frozen=True, slots=True)
class Owned:
    """A machine the team has, or may buy.

    Either the full cost per hour, or the purchase: price and residual value [USD], life [years],
    discount rate [share per year], power of the machine [kW] (None: that of its GPUs), the load
    factor it draws it with, PUE, tariff, hosting, upkeep [share of the price per year].
    `machines` is how many there are, None for no limit.
    """

    name: str
    gpu: str
    gpu_count: int
    usd_per_hour: float = 0.0
    machines: int | None = None
    vcpus: float | None = None
    ram_gb: float | None = None
    purchase_usd: float | None = None
    residual_usd: float = 0.0
    life_years: float = 4.0
    discount_rate: float = 0.0
    power_kw: float | None = None
    load_factor: float = 1.0
    pue: float = 1.0
    usd_per_kwh: float = 0.0
    hosting_usd_per_month: float = 0.0
    upkeep_share_per_year: float = 0.0


@dataclass(frozen=True, slots=True)
class Supply:
    """What can be rented or is owned. Empty `providers` or `regions` mean any."""

    gpus: tuple[str, ...]
    gpu_counts: tuple[int, ...]
    tensor: tuple[int, ...] | None
    pipeline: tuple[int, ...] | None
    expert: tuple[int, ...] | None
    context: tuple[int, ...] | None
    sharding: tuple[str, ...] | None
    multi_node: bool
    providers: tuple[str, ...]
    regions: tuple[str, ...]
    purchase: tuple[str, ...]
    discounts: Mapping[str, float | Mapping[str, float]]
    owned: tuple[Owned, ...]
    data: tuple[int, ...] | None = (1,)
    instance_types: tuple[str, ...] = ()
    min_vcpus: float | None = None
    min_ram_gb: float | None = None
    engine_splits: bool = False
    """Whether layouts are left to the engine: no pipeline sizes given, and tensor auto."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """Limits of the choice. None: no limit."""

    memory_headroom: float = 0.0
    allow_tight: bool = False
    max_usd_per_hour: float | None = None
    max_usd_per_month: float | None = None
    max_gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """A ceiling over bought cases; an empty scope means all of them."""

    id: str
    scope_kind: str
    scope_name: str
    max_usd_per_month: float | None
    level: str


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Assumptions of the whole scenario."""

    hours_per_month: float
    currency: str = "USD"
    as_of: str | None = None
    max_price_age_days: int = 90


@dataclass(frozen=True, slots=True)
class Scenario:
    """A validated scenario."""

    stem: str
    file: str
    folder: Path
    title: str
    description: str
    tags: tuple[str, ...]
    estimator: str
    assumptions: Assumptions
    rule_of_thumb: Mapping[str, Any]
    catalog: Mapping[str, tuple[str, ...]]
    workloads: tuple[Workload, ...]
    supply: Supply
    constraints: Constraints
    budgets: tuple[Budget, ...]
    source: Mapping[str, Any]
