"""Offers, costs and the choice, on small frames checked by hand."""

from typing import Any

import polars as pl
import pytest

from planner.choose import Limits, best_per_configuration, bought_cases, ranked, with_choice
from planner.estimate.cost import with_cost, with_offers
from planner.resolve.prices import SHAPE_SCHEMA

SHAPES = [
    # gpu, provider, region, instance, GPUs, purchase, USD per hour
    ("h100", "aws", "us", "p5.4xlarge", 1, "on-demand", 6.88),
    ("h100", "aws", "us", "p5.48xlarge", 8, "on-demand", 55.04),
    ("h100", "lambda", "us", "gpu_2x", 2, "on-demand", 7.0),
    ("h100", "verda", "fi", "spot1", 1, "spot", 0.8),
    ("b200", "aws", "us", "p6", 8, "on-demand", 113.93),
    ("h100", "owned", None, "rack", 8, "owned", 12.0),
]


def shapes() -> pl.LazyFrame:
    rows = [
        (gpu, provider, region, instance, count, purchase, None, price, *[None] * 5)
        for gpu, provider, region, instance, count, purchase, price in SHAPES
    ]
    return pl.LazyFrame(rows, schema=SHAPE_SCHEMA, orient="row")


def cell(**given: Any) -> dict[str, Any]:
    return {
        "case_index": 0,
        "case_id": "case",
        "bought_key": "w",
        "method": "inference",
        "gpu": "h100",
        "gpu_count": 1,
        "nodes": 1,
        "replicas": 1,
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "expert_parallel_size": 1,
        "context_parallel_size": 1,
        "sharding": "none",
        "verdict": "fits",
        "memory_reason": None,
        "objective_reason": None,
        "meets_objectives": None,
        "utilization": 0.5,
        "tokens_per_second": 100.0,
        "training_tokens": None,
        "epochs": None,
        "runs_per_month": None,
        **given,
    }


TYPES = {
    "memory_reason": pl.String,
    "objective_reason": pl.String,
    "meets_objectives": pl.Boolean,
    "training_tokens": pl.Float64,
    "epochs": pl.Float64,
    "runs_per_month": pl.Float64,
}


def frame(*cells: dict[str, Any]) -> pl.LazyFrame:
    return pl.LazyFrame(list(cells), schema_overrides=TYPES)


def priced(*cells: dict[str, Any], any_provider: bool = True, hours: float = 730) -> pl.DataFrame:
    offered = with_offers(frame(*cells), shapes(), any_provider=any_provider)
    costed = with_cost(offered, hours_per_month=hours)
    order = ["case_index", "gpu", "gpu_count", "provider", "purchase"]
    return (
        costed.sort(order, nulls_last=True).with_row_index("cell_index").collect(engine="in-memory")
    )


def chosen(*cells: dict[str, Any], limits: Limits | None = None, **options: Any) -> pl.DataFrame:
    return with_choice(priced(*cells, **options).lazy(), limits or Limits()).collect(
        engine="in-memory"
    )


def offer(cells: pl.DataFrame, purchase: str = "on-demand") -> dict[str, Any]:
    return cells.filter(pl.col("purchase") == purchase).to_dicts()[0]


def test_three_gpus_pay_for_the_shape_that_holds_them() -> None:
    found = offer(priced(cell(gpu_count=3)))
    assert (found["instance_type"], found["offer_gpu_count"]) == ("p5.48xlarge", 8)
    assert found["usd_per_hour"] == 55.04


def test_a_gpu_sold_only_by_eights_costs_eight_for_one() -> None:
    assert offer(priced(cell(gpu="b200")))["usd_per_hour"] == 113.93


def test_two_gpus_take_the_cheapest_whole_instance() -> None:
    found = offer(priced(cell(gpu_count=2)))
    assert (found["provider"], found["usd_per_hour"]) == ("lambda", 7.0)


def test_replicas_share_an_instance_as_far_as_they_fit_whole() -> None:
    found = offer(priced(cell(gpu_count=1, replicas=2)))
    # Two single-GPU replicas on one 2-GPU machine at 7.00 beat two machines at 6.88 each.
    assert (found["instance_type"], found["instances"], found["usd_per_hour"]) == ("gpu_2x", 1, 7.0)
    many = offer(priced(cell(gpu_count=3, replicas=3)))
    assert (many["instance_type"], many["instances"]) == ("p5.48xlarge", 2)


def test_each_way_of_buying_is_a_cell_of_its_own() -> None:
    cells = priced(cell())
    assert sorted(cells["purchase"].to_list()) == ["on-demand", "owned", "spot"]


def test_with_named_providers_each_is_a_cell_of_its_own() -> None:
    cells = priced(cell(gpu_count=2), any_provider=False).filter(pl.col("purchase") == "on-demand")
    assert cells["provider"].to_list() == ["aws", "lambda"]


def test_a_gpu_nobody_sells_is_unpriced_and_never_free() -> None:
    found = priced(cell(gpu="tpu")).to_dicts()[0]
    assert (found["price_state"], found["usd_per_hour"]) == ("unpriced", None)


def test_a_count_no_shape_holds_is_no_offer() -> None:
    found = priced(cell(gpu="b200", gpu_count=16, nodes=1)).to_dicts()[0]
    assert (found["price_state"], found["usd_per_hour"]) == ("no-offer", None)


def test_a_replica_over_two_nodes_takes_two_full_instances() -> None:
    found = offer(priced(cell(gpu="b200", gpu_count=16, nodes=2)))
    assert (found["instances"], found["usd_per_hour"]) == (2, 2 * 113.93)


def test_serving_pays_the_hours_of_the_month_and_committed_machines_all_of_them() -> None:
    cells = priced(cell(), hours=200)
    assert offer(cells)["usd_per_month"] == pytest.approx(6.88 * 200)
    assert offer(cells, "owned")["usd_per_month"] == pytest.approx(12.0 * 730)


def test_training_pays_the_hours_of_its_runs() -> None:
    run = cell(
        method="lora",
        training_tokens=36e6,
        epochs=2.0,
        runs_per_month=5.0,
        tokens_per_second=1000.0,
    )
    # 72 million tokens at 1,000 a second are 20 hours; five runs a month are 100.
    assert offer(priced(run))["usd_per_month"] == pytest.approx(100 * 6.88)
    assert offer(priced(run))["usd_per_million_tokens"] == pytest.approx(6.88 / 3.6)


def test_training_without_a_demand_has_no_month() -> None:
    assert offer(priced(cell(method="lora")))["usd_per_month"] is None


def test_the_cheapest_fitting_cell_wins_and_the_others_say_why_not() -> None:
    cells = chosen(
        cell(gpu="b200", gpu_count=8),
        cell(gpu="h100", gpu_count=1, verdict="exceeds", memory_reason="5 GiB above the budget"),
        cell(gpu="h100", gpu_count=2),
    ).filter(pl.col("purchase") == "on-demand")
    found = {(r["gpu"], r["gpu_count"]): r for r in cells.iter_rows(named=True)}
    assert found["h100", 2]["is_cheapest"] is True
    assert found["h100", 2]["reason"] is None
    assert found["h100", 1]["reason"] == "5 GiB above the budget"
    assert "dearer by" in found["b200", 8]["reason"]


def only(purchase: str, *cells: dict[str, Any], limits: Limits | None = None) -> pl.DataFrame:
    table = priced(*cells).filter(pl.col("purchase").is_null() | (pl.col("purchase") == purchase))
    return with_choice(table.lazy(), limits or Limits()).collect(engine="in-memory")


def test_least_cost_is_chosen_per_case() -> None:
    cells = only("on-demand", cell(gpu_count=2), cell(gpu_count=8), cell(case_index=1, gpu_count=8))
    winners = cells.filter("is_cheapest").select("case_index", "gpu_count").rows()
    assert winners == [(0, 2), (1, 8)]
    assert cells.filter("is_cheapest")["reason"].to_list() == [None, None]


def test_a_tight_cell_is_chosen_only_where_that_is_allowed() -> None:
    tight = cell(verdict="tight", memory_reason="may be short")
    assert only("on-demand", tight)["is_cheapest"].to_list() == [False]
    assert only("on-demand", tight)["reason"].to_list() == ["may be short; allow_tight is off"]
    assert only("on-demand", tight, limits=Limits(allow_tight=True))["is_cheapest"].to_list() == [
        True
    ]


def test_a_cell_that_misses_an_objective_is_not_chosen() -> None:
    slow = cell(meets_objectives=False, objective_reason="80 ms per token, 50 asked")
    cells = only("on-demand", slow, cell(gpu_count=8))
    assert cells.filter("is_cheapest")["gpu_count"].to_list() == [8]
    assert "80 ms per token, 50 asked" in cells["reason"].to_list()


def test_limits_make_a_price_over_limit_and_not_missing() -> None:
    cells = only("on-demand", cell(gpu_count=8), limits=Limits(max_usd_per_hour=50))
    assert cells["price_state"].to_list() == ["over-limit"]
    assert cells["is_cheapest"].to_list() == [False]


def test_ties_go_to_fewer_gpus_then_to_speed_then_to_more_free_memory() -> None:
    same = cell(gpu_count=3, utilization=0.9), cell(gpu_count=5, utilization=0.2)
    assert only("on-demand", *same).filter("is_cheapest")["gpu_count"].to_list() == [3]
    slow_and_fast = (
        cell(gpu_count=4, utilization=0.2, pipeline_parallel_size=2, tokens_per_second=90.0),
        cell(gpu_count=4, utilization=0.3, tensor_parallel_size=4, tokens_per_second=180.0),
    )
    faster = only("on-demand", *slow_and_fast).filter("is_cheapest")
    assert faster["tensor_parallel_size"].to_list() == [4]
    roomy = (
        cell(gpu_count=4, utilization=0.9, sharding="ddp"),
        cell(gpu_count=4, utilization=0.2, sharding="fsdp"),
    )
    assert only("on-demand", *roomy).filter("is_cheapest")["sharding"].to_list() == ["fsdp"]


def test_order_of_the_rows_changes_nothing() -> None:
    cells = [cell(gpu_count=count, utilization=count / 10) for count in (1, 2, 4, 8)]
    forward = only("on-demand", *cells).filter("is_cheapest")["gpu_count"].to_list()
    backward = only("on-demand", *reversed(cells)).filter("is_cheapest")["gpu_count"].to_list()
    assert forward == backward


def test_the_matrix_shows_the_best_cell_of_each_configuration() -> None:
    cells = only(
        "on-demand",
        cell(gpu_count=2, verdict="exceeds", sharding="ddp", memory_reason="too large"),
        cell(gpu_count=2, verdict="fits", sharding="fsdp"),
        cell(gpu_count=8),
    )
    best = best_per_configuration(cells.lazy()).collect(engine="in-memory")
    assert best.select("gpu_count", "verdict").rows() == [(2, "fits"), (8, "fits")]


def test_runners_up_follow_in_order_of_cost() -> None:
    cells = only("on-demand", cell(gpu_count=8), cell(gpu_count=2), cell(gpu="b200"))
    found = ranked(cells.lazy()).collect(engine="in-memory")
    assert found.select("rank", "gpu", "gpu_count").rows() == [
        (1, "h100", 2),
        (2, "h100", 8),
        (3, "b200", 1),
    ]


def test_one_case_of_each_key_is_bought() -> None:
    cells = only(
        "on-demand",
        cell(case_index=0, gpu_count=8),
        cell(case_index=1, gpu_count=2),
        cell(case_index=2, gpu_count=8, bought_key="other"),
    )
    assert bought_cases(cells.lazy()).collect(engine="in-memory").sort("bought_key").rows() == [
        ("other", 2),
        ("w", 1),
    ]
