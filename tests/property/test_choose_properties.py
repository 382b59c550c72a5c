"""What must hold for every choice."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.choose import Limits, bought_cases, ranked, with_choice
from tests.unit.test_choose import TYPES, cell

CELLS = st.lists(
    st.fixed_dictionaries({
        "case_index": st.integers(0, 3),
        "gpu": st.sampled_from(["a", "b", "c"]),
        "gpu_count": st.sampled_from([1, 2, 4]),
        "verdict": st.sampled_from(["fits", "tight", "exceeds", "impossible", "unsupported"]),
        "price_state": st.sampled_from(["priced", "unpriced", "no-offer"]),
        "usd_per_hour": st.sampled_from([0.5, 1.0, 1.0, 2.0, 7.25]),
        "utilization": st.floats(0.01, 2),
        "tokens_per_second": st.sampled_from([10.0, 20.0, 40.0]),
        "meets_objectives": st.sampled_from([None, True, False]),
    }),
    min_size=1,
    max_size=25,
)  # fmt: skip


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    cells = []
    for index, row in enumerate(rows):
        priced = row["price_state"] == "priced"
        cells.append(
            cell(
                **{**row, "usd_per_hour": row["usd_per_hour"] if priced else None},
                cell_index=index,
                usd_per_month=row["usd_per_hour"] * 730 if priced else None,
                provider=f"p{index}",
                purchase="on-demand",
                instance_type="i",
                bought_key=f"key{row['case_index'] % 2}",
                memory_reason=None if row["verdict"] == "fits" else "memory",
                objective_reason="slow" if row["meets_objectives"] is False else None,
            )
        )
    money = dict.fromkeys(("usd_per_hour", "usd_per_month"), pl.Float64)
    return pl.DataFrame(cells, schema_overrides={**TYPES, **money})


def choose(cells: pl.DataFrame, limits: Limits | None = None) -> pl.DataFrame:
    return with_choice(cells.lazy(), limits or Limits()).collect(engine="in-memory")


@settings(deadline=None)
@given(CELLS)
def test_the_choice_is_allowed_and_nothing_allowed_is_cheaper(rows: list[dict[str, Any]]) -> None:
    chosen = choose(frame(rows))
    for _, case in chosen.group_by("case_index"):
        eligible = case.filter("is_eligible")
        winners = case.filter("is_cheapest")
        assert winners.height == min(1, eligible.height)
        if winners.height:
            assert winners["is_eligible"].all()
            assert winners["rank_cost_usd"][0] == eligible["rank_cost_usd"].min()


@settings(deadline=None)
@given(CELLS, st.randoms(use_true_random=False))
def test_the_order_of_the_cells_changes_nothing(rows: list[dict[str, Any]], random: Any) -> None:
    cells = frame(rows)
    order = list(range(cells.height))
    random.shuffle(order)
    first = choose(cells).filter("is_cheapest").sort("case_index")["cell_index"].to_list()
    again = choose(cells[order]).filter("is_cheapest").sort("case_index")["cell_index"].to_list()
    assert first == again


@settings(deadline=None)
@given(CELLS)
def test_every_cell_is_the_choice_or_says_why_not(rows: list[dict[str, Any]]) -> None:
    chosen = choose(frame(rows))
    assert chosen.height == len(rows)
    silent = chosen.filter(pl.col("reason").is_null() & ~pl.col("is_cheapest"))
    assert silent.is_empty()


@settings(deadline=None)
@given(CELLS, st.sampled_from([0.4, 0.9, 1.5, 10.0]))
def test_a_tighter_limit_never_makes_the_choice_cheaper(
    rows: list[dict[str, Any]], limit: float
) -> None:
    def costs(limits: Limits) -> dict[int, float]:
        best = choose(frame(rows), limits).filter("is_cheapest")
        return dict(best.select("case_index", "rank_cost_usd").iter_rows())

    free, bound = costs(Limits()), costs(Limits(max_usd_per_hour=limit))
    assert set(bound) <= set(free)
    assert all(bound[case] >= free[case] for case in bound)


@settings(deadline=None)
@given(CELLS)
def test_each_key_buys_its_cheapest_case(rows: list[dict[str, Any]]) -> None:
    chosen = choose(frame(rows))
    best = chosen.filter("is_cheapest")
    for key, case in bought_cases(chosen.lazy()).collect(engine="in-memory").iter_rows():
        mine = best.filter(pl.col("bought_key") == key)
        cost = mine.filter(pl.col("case_index") == case)["rank_cost_usd"][0]
        assert cost == mine["rank_cost_usd"].min()


@settings(deadline=None)
@given(CELLS)
def test_runners_up_rise_in_cost(rows: list[dict[str, Any]]) -> None:
    for _, case in (
        ranked(choose(frame(rows)).lazy()).collect(engine="in-memory").group_by("case_index")
    ):
        costs = case.sort("rank")["rank_cost_usd"].to_list()
        assert costs == sorted(costs)
