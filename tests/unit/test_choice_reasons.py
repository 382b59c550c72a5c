"""What binds a choice, what is close to it, and what would change it; and how fast that is."""

from typing import Any

import polars as pl
import pytest

from benchmarks.choice import chosen as weighed
from benchmarks.choice import made_up_cells, made_up_shapes
from planner.choose import (
    Limits,
    binding_constraints,
    close_runners_up,
    growth_flips,
    price_flips,
    relaxations,
    with_choice,
)
from planner.estimate.cost import with_cost, with_offers
from planner.estimate.demand import with_demand
from planner.resolve.prices import SHAPE_SCHEMA
from tests.unit.test_choose import TYPES, cell, chosen, only

GIB = 2**30


def big(**given: Any) -> dict[str, Any]:
    return cell(
        total_bytes=60.0 * GIB, total_high_bytes=66.0 * GIB, budget_bytes=70.0 * GIB,
        time_per_output_token_ms=20.0, objective_time_per_output_token_ms=50.0, **given,
    )  # fmt: skip


def bound(cells: pl.DataFrame, limits: Limits | None = None) -> dict[str, Any]:
    return (
        binding_constraints(cells.lazy(), limits or Limits())
        .collect(engine="in-memory")
        .to_dicts()[0]
    )


def test_memory_binds_where_a_little_more_of_it_would_make_a_cheaper_cell_fit() -> None:
    short = {**big(gpu_count=1, verdict="exceeds", memory_reason="5 GiB above the budget"),
             "total_bytes": 75.0 * GIB}  # fmt: skip
    found = bound(only("on-demand", short, big(gpu_count=2)))
    assert found["binding_constraint"] == "memory"
    assert found["excess"] == pytest.approx(75 / 70)
    # One GPU costs 6.88, two on Lambda 7.00: 0.12 USD an hour more, 87.60 a month.
    assert found["saving_usd"] == pytest.approx(0.12 * 730)
    assert found["binding_reason"] == (
        "1× h100 from aws at 6.88 USD per hour would be cheaper, but: 5 GiB above the budget"
    )


def test_what_does_not_fit_is_taken_to_need_as_many_replicas_as_the_choice() -> None:
    short = {**big(gpu_count=1, verdict="exceeds", memory_reason="short"),
             "total_bytes": 75.0 * GIB}  # fmt: skip
    found = bound(only("on-demand", short, big(gpu_count=2, replicas=2)))
    # The choice costs two Lambda machines, 14.00; two single GPUs cost 2 x 6.88 = 13.76.
    assert found["saving_usd"] == pytest.approx(0.24 * 730)
    assert found["binding_reason"].startswith("2 replicas of 1× h100 from aws at 13.76 USD")
    # Three replicas of two GPUs fill an instance of eight: 21.00 on Lambda; three singles 20.64.
    found = bound(only("on-demand", short, big(gpu_count=2, replicas=3)))
    assert found["saving_usd"] == pytest.approx(0.36 * 730)


def test_slow_tokens_are_bandwidth_and_other_objectives_are_themselves() -> None:
    slow = {**big(meets_objectives=False, objective_reason="60 ms, 50 asked"),
            "time_per_output_token_ms": 60.0}  # fmt: skip
    found = bound(only("on-demand", slow, big(gpu_count=8)))
    assert (found["binding_constraint"], found["excess"]) == ("bandwidth", pytest.approx(1.2))
    late = big(
        meets_objectives=False, objective_reason="late", time_to_first_token_ms=900.0,
        objective_time_to_first_token_ms=800.0,
    )  # fmt: skip
    found = bound(only("on-demand", late, big(gpu_count=8)))
    assert (found["binding_constraint"], found["excess"]) == ("objective", pytest.approx(1.125))


def test_a_budget_binds_where_only_it_forbids() -> None:
    limits = Limits(max_usd_per_hour=50)
    cells = only("on-demand", big(gpu_count=8), limits=limits)
    found = bound(cells, limits)
    assert (found["binding_constraint"], found["saving_usd"]) == ("budget", None)
    assert found["excess"] == pytest.approx(55.04 / 50)


def test_granularity_binds_where_most_of_the_instance_is_idle() -> None:
    found = bound(only("on-demand", big(gpu_count=3)))
    assert found["binding_constraint"] == "shape granularity"
    # 55.04 x 730 a month for 3 of 8 GPUs: five eighths are not used.
    assert found["saving_usd"] == pytest.approx(55.04 * 730 * 5 / 8)
    assert "pays for 2.67 times the GPUs" in found["binding_reason"]


def test_nothing_binds_the_smallest_machine() -> None:
    assert bound(only("on-demand", big()))["binding_constraint"] == "none"


def test_without_a_choice_the_nearest_cell_is_named() -> None:
    near = {**big(gpu_count=2, verdict="exceeds", memory_reason="a bit"), "total_bytes": 80 * GIB}
    far = {**big(gpu_count=1, verdict="exceeds", memory_reason="much"), "total_bytes": 200 * GIB}
    found = bound(only("on-demand", far, near))
    assert "comes nearest, but: a bit" in found["binding_reason"]


def test_a_cell_that_two_constraints_stop_binds_none() -> None:
    twice = big(verdict="exceeds", memory_reason="large", meets_objectives=False)
    cells = only("on-demand", twice, big(gpu_count=8))
    assert relaxations(cells.lazy(), Limits()).collect(engine="in-memory").height == 0


def test_the_front_is_what_nothing_beats_in_cost_and_latency() -> None:
    cells = only(
        "on-demand",
        cell(gpu_count=2, time_per_output_token_ms=30.0),  # 7.00
        cell(gpu_count=1, time_per_output_token_ms=40.0),  # 6.88
        cell(gpu_count=8, time_per_output_token_ms=10.0),  # 55.04
        cell(gpu_count=3, time_per_output_token_ms=35.0),  # 55.04, slower than two GPUs
    )
    front = cells.filter("is_pareto").sort("latency_ms")
    assert front["gpu_count"].to_list() == [8, 2, 1]


def test_ties_are_visible_with_the_rule_that_decided() -> None:
    cells = only(
        "on-demand", cell(gpu_count=4, utilization=0.2), cell(gpu_count=3, utilization=0.9),
        cell(gpu_count=3, utilization=0.9, sharding="zz", tokens_per_second=50.0),
    )  # fmt: skip
    assert cells["is_tied"].to_list() == [True, True, True]
    reasons = sorted(cells["reason"].drop_nulls().to_list())
    assert reasons == ["same cost; lost the tie: more GPUs", "same cost; lost the tie: slower"]
    assert only("on-demand", cell())["is_tied"].to_list() == [False]


def test_runners_up_within_ten_percent_are_all_named() -> None:
    cells = only("on-demand", cell(gpu_count=1), cell(gpu_count=2), cell(gpu_count=8))
    found = close_runners_up(cells.lazy()).collect(engine="in-memory")
    # 7.00 is 1.7 % above 6.88; 55.04 is not close.
    assert found["gpu_count"].to_list() == [2]
    assert found["surcharge_ratio"].to_list() == pytest.approx([7 / 6.88 - 1])


def test_the_price_that_flips_the_choice_is_found_from_both_sides() -> None:
    cells = only("on-demand", cell(gpu_count=1), cell(gpu_count=2))
    found = price_flips(cells.lazy()).collect(engine="in-memory").to_dicts()[0]
    assert found["rise_ratio"] == pytest.approx(7 / 6.88 - 1)
    assert found["fall_ratio"] == pytest.approx(1 - 6.88 / 7)


def serving(**given: Any) -> dict[str, Any]:
    return cell(
        configuration_index=given["gpu_count"], data_parallel_size=1, concurrent_sequences=10,
        requests_per_second=1.0, output_tokens_mean=100.0, input_tokens_mean=10.0,
        time_to_first_token_ms=10.0, time_per_output_token_ms=10.0, end_to_end_ms=1000.0,
        target_utilisation=0.5, **given,
    )  # fmt: skip


def test_growth_says_when_more_of_the_same_and_when_another_machine_wins() -> None:
    shapes = pl.DataFrame(
        [("h", "a", "r", f"x{n}", n, "on-demand", None, usd, *[None] * 5)
         for n, usd in ((1, 2.0), (4, 5.0))],
        schema=SHAPE_SCHEMA, orient="row",
    )  # fmt: skip
    # One GPU writes 250 tokens a second: at 50 % use 1.25 requests of 100 tokens; four GPUs write
    # 1,000. At 2 a second two replicas of one GPU cost 4.00, at 3 three would cost 6.00: they
    # share one instance of four GPUs at 5.00.
    cells = [
        serving(gpu="h", gpu_count=1, tokens_per_second=250.0),
        serving(gpu="h", gpu_count=4, tokens_per_second=1000.0),
    ]
    frame = with_demand(pl.LazyFrame(cells, schema_overrides=TYPES))
    costed = with_cost(with_offers(frame, shapes.lazy(), any_provider=True), hours_per_month=730)
    indexed = costed.with_row_index("cell_index").collect(engine="in-memory").lazy()
    first = with_choice(indexed, Limits()).collect(engine="in-memory")
    assert first.filter("is_cheapest")["gpu_count"].to_list() == [1]
    found = growth_flips(
        first, shapes, Limits(), any_provider=True, hours_per_month=730, factors=(1.2, 2.0, 3.0)
    )
    assert found.select("growth", "machine_changes", "instance_type", "replicas").rows() == [
        (2.0, False, "x1", 2),
        (3.0, True, "x4", 3),
    ]


def test_choices_of_the_case_are_the_same_for_any_order_of_rows() -> None:
    cells = [big(gpu_count=n, utilization=n / 10) for n in (1, 2, 3, 8)]
    one, other = chosen(*cells), chosen(*reversed(cells))
    for name in ("is_cheapest", "is_pareto", "is_tied"):
        assert one.filter(name)["gpu_count"].to_list() == other.filter(name)["gpu_count"].to_list()


def test_every_offer_of_every_layout_is_weighed_once() -> None:
    table, front, matrix = weighed(made_up_cells(40, 125), made_up_shapes())
    assert table.height == 40 * 1000
    assert table["cell_index"].n_unique() == table.height
    assert front.height == 40 * 5
    assert matrix.height == 40 * 20
    cheapest = table.filter("is_cheapest")
    assert cheapest["case_id"].is_unique().all()
    allowed = table.filter(pl.col("verdict") == "fits", "meets_objectives")
    least = allowed.group_by("case_id").agg(pl.col("usd_per_month").min())
    beside = cheapest.join(least, on="case_id", suffix="_least")
    assert beside.height == 40
    assert beside["usd_per_month"].to_list() == beside["usd_per_month_least"].to_list()
