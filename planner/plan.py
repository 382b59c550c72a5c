"""The Plan: what every renderer, diff and export reads.

Dataclasses only. All numbers are final: sizes in GiB, money in USD, shares as ratios; nothing
downstream computes more than words from them. `plan.json` is this record, checked by
schemas/plan.schema.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SCHEMA_VERSION: Final = 1

COMPONENTS: Final = (
    "weights",
    "adapter",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "kv_cache",
    "recurrent_state",
    "overhead",
)
"""Parts of a cell's memory, in the order of every stacked bar and of cells.csv."""

VERDICTS: Final = ("fits", "tight", "exceeds", "impossible", "unsupported")
PRICE_STATES: Final = ("priced", "unpriced", "no-offer", "over-limit")
OUTCOMES: Final = ("chosen", "nothing-fits", "no-price", "over-limit", "misses-objective")


@dataclass(frozen=True, slots=True)
class PlanScenario:
    """Head of the plan: what was asked, under which assumptions."""

    stem: str
    title: str
    description: str
    file: str
    tags: tuple[str, ...]
    estimator: str
    currency: str
    hours_per_month: float
    as_of: str | None
    constraints: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PlanModel:
    """One model in use and where its facts come from."""

    model: str
    parameters: int
    active_parameters: int
    source: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Estimates against published measurements: errors of the estimate as shares of the measured.

    `kind` is what was compared (inference memory, fine-tuning memory, serving speed),
    `inside_share` the share of measurements between the low and the high estimate.
    """

    kind: str
    engine: str
    component: str
    rows: int
    median_error_ratio: float | None
    p95_error_ratio: float | None
    inside_share: float | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the plan was computed from.

    `resolved` is the scenario as written. Hashes are SHA-256 of file contents. Price dates are
    those of the offers in use; `undated_offers` have none. `accuracy` says how well estimates of
    this kind agreed with measurements on `accuracy_date`.
    """

    scenario_sha256: str
    catalog_sha256: str
    resolved: Mapping[str, Any]
    models: tuple[PlanModel, ...]
    oldest_price_date: str | None
    newest_price_date: str | None
    undated_offers: int
    stale_offers: int | None
    command: str
    accuracy_date: str | None = None
    accuracy: tuple[Accuracy, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanWorkload:
    """One workload: its varying axes with their values in declared order."""

    name: str
    tags: tuple[str, ...]
    methods: tuple[str, ...]
    for_each: tuple[str, ...]
    axes: Mapping[str, tuple[Any, ...]]
    fixed: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PlanConfiguration:
    """A column of the fit matrix: GPU x count, and the best price of it that the supply allows."""

    configuration_id: str
    label: str
    gpu: str
    gpu_name: str
    gpu_count: int
    usable_gib: float
    usd_per_hour: float | None
    offer: str


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One item of a cell's memory at the binding phase, in GiB per GPU."""

    item: str
    component: str
    low_gib: float
    expected_gib: float
    high_gib: float
    formula: str
    substituted: str
    source: str


@dataclass(frozen=True, slots=True)
class CellDetail:
    """A chosen cell or a runner-up: every column of cells.csv, and its ledger."""

    cell: Mapping[str, Any]
    ledger: tuple[LedgerLine, ...]
    surcharge_ratio: float | None


@dataclass(frozen=True, slots=True)
class PlanCase:
    """A row of the fit matrix and what was decided about it.

    `cheapest` and `runners_up` are indices into the plan's `details`; `sentence` says the outcome
    in plain words.
    """

    case_id: str
    workload: str
    model: str
    method: str
    values: Mapping[str, Any]
    bought_key: str
    is_bought: bool
    outcome: str
    sentence: str
    cheapest: int | None
    runners_up: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way to run a case, with its cost over the choice (0.08: 8 % more)."""

    label: str
    usd_per_hour: float
    usd_per_month: float | None
    latency_ms: float | None
    surcharge_ratio: float | None


@dataclass(frozen=True, slots=True)
class Flip:
    """What would change the choice: `price` (its rise as a ratio) or `growth` (times the load)."""

    kind: str
    ratio: float
    sentence: str


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Hours a month from which a committed purchase beats paying by the hour.

    `share` is of all hours of a month, `months` after which a bought machine has paid for itself.
    """

    committed: str
    hourly: str
    committed_label: str
    hourly_label: str
    committed_usd_per_month: float
    hourly_usd_per_hour: float
    hours_per_month: float
    share: float
    committed_wins: bool
    months: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class PlanChoice:
    """Reasons of one case's choice; `case` is its index.

    `binding` is the constraint in the way of a cheaper choice, `saving_usd` what lifting it alone
    would save (in the unit of the comparison: a month, or an hour without a demand); `tied` counts
    cells of the same cost; `close_runners_up` cost at most a tenth more; `front` is the Pareto
    front of cost against latency.
    """

    case: int
    binding: str
    binding_sentence: str
    saving_usd: float | None
    tied: int
    close_runners_up: tuple[Alternative, ...]
    front: tuple[Alternative, ...]
    flips: tuple[Flip, ...]
    break_even: tuple[BreakEven, ...]


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget against the bought cases in its scope."""

    id: str
    scope: str
    max_usd_per_month: float | None
    usd_per_month: float
    level: str
    state: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over bought cases.

    `bought` counts purchases with an answer, `incomplete` those without one, `hourly_only` the
    bought ones that have no monthly cost because their workload names no demand.
    """

    bought: int
    incomplete: int
    hourly_only: int
    usd_per_hour: float
    usd_per_month: float
    usd_per_year: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole answer.

    `matrix` is a table by column, one row per case x configuration with its best cell:
    `case` and `configuration` (indices), `verdict`, `price_state`, `reason` (index into
    `reasons`), `advice` (index into `advice`: what would make it fit), `layout`,
    `total_low_gib`, `total_gib`, `total_high_gib`, `budget_gib`, `utilization` (total over usable),
    `<component>_gib` for each of COMPONENTS, `usd_per_hour`,
    `usd_per_month`, `offer`, `replicas`, `tokens_per_second`, `time_to_first_token_ms`,
    `time_per_output_token_ms`, `max_context_tokens`, `max_concurrent_sequences`, `is_cheapest`.
    `warnings` say what to check before buying.
    """

    schema_version: int
    planner_version: str
    scenario: PlanScenario
    inputs: Inputs
    workloads: tuple[PlanWorkload, ...]
    cases: tuple[PlanCase, ...]
    configurations: tuple[PlanConfiguration, ...]
    matrix: Mapping[str, tuple[Any, ...]]
    reasons: tuple[str, ...]
    advice: tuple[str, ...]
    details: tuple[CellDetail, ...]
    budgets: tuple[BudgetState, ...]
    totals: Totals
    headline: str
    cells_total: int
    offers_left_out: tuple[str, ...]
    notes: tuple[str, ...]
    choices: tuple[PlanChoice, ...] = ()
    warnings: tuple[str, ...] = ()
