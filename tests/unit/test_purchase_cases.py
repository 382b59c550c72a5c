"""Purchases checked by hand: every test writes its arithmetic out."""

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.load import load_catalog
from planner.choose import break_even
from planner.estimate.cost import with_cost, with_offers
from planner.pipeline import open_scenario, plan_scenario
from planner.pipeline.decide import decide
from planner.resolve.owned import capital_recovery_factor, owned_cost
from planner.resolve.prices import SHAPE_SCHEMA, offer_shapes
from planner.scenario.model import Owned
from tests.scenarios import problems_of, write

PRICES = """\
provider,instance_type,region,gpu,gpu_count,vcpus,ram_gb,purchase,usd_per_hour,price_date,source
{rows}
"""
SCENARIO = """\
version: 1
assumptions: {{hours_per_month: {hours}, as_of: "2026-11-20"}}
models: [{{id: meta-llama/Llama-3.1-8B-Instruct}}]
catalog: {{prices: [prices.csv]}}
workloads:
  - name: chat
    method: inference
    matrix: {{context_tokens: [4096], concurrent_sequences: [1]}}
supply:
  gpus: [H100]
  gpu_counts: [{counts}]
  providers: [acme]
  {supply}
"""


def decided(
    folder: Path, *prices: str, counts: str = "1", hours: float = 730, supply: str = ""
) -> pl.DataFrame:
    (folder / "prices.csv").write_text(PRICES.format(rows="\n".join(prices)), "utf-8")
    text = SCENARIO.format(counts=counts, hours=hours, supply=supply)
    return decide(open_scenario(write(folder, text)))


def price(instance: str, count: int, purchase: str, usd: float, ram: int = 2048) -> str:
    return f"acme,{instance},r,H100,{count},192,{ram},{purchase},{usd},2026-11-01,list"


def test_three_gpus_where_only_eights_are_sold_pay_for_eight(tmp_path: Path) -> None:
    cells = decided(
        tmp_path, price("x8", 8, "on-demand", 55.04), counts="3",
        supply="parallel: {tensor: 1, pipeline: 3}",
    )  # fmt: skip
    cell = cells.to_dicts()[0]
    # One replica of three GPUs on one instance of eight: 1 x 55.04 an hour, not 3/8 of it (20.64);
    # 55.04 x 730 = 40,179.20 a month.
    assert (cell["instances"], cell["offer_gpu_count"]) == (1, 8)
    assert cell["usd_per_hour"] == pytest.approx(55.04)
    assert cell["usd_per_month"] == pytest.approx(40_179.20)
    assert cell["usd_per_year"] == pytest.approx(482_150.40)


def test_spot_without_a_price_is_not_sold_and_never_free(tmp_path: Path) -> None:
    cells = decided(
        tmp_path, price("x1", 1, "on-demand", 6.88), supply="purchase: [spot]"
    )  # fmt: skip
    assert cells["price_state"].to_list() == ["unpriced"]
    assert cells["usd_per_hour"].to_list() == [None]
    assert not cells["is_cheapest"].any()
    both = decided(
        tmp_path, price("x1", 1, "on-demand", 6.88), supply="purchase: [on-demand, spot]"
    )
    assert both.select("purchase", "usd_per_hour").rows() == [("on-demand", 6.88)]


def test_a_price_of_zero_is_refused_and_not_read_as_free(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(PRICES.format(rows=price("x", 1, "spot", 0)), "utf-8")
    found = problems_of(tmp_path, SCENARIO.format(counts=1, hours=730, supply=""))
    assert any("usd_per_hour" in problem.path for problem in found)


def test_three_years_reserved_at_thirty_percent_use_lose_to_on_demand(tmp_path: Path) -> None:
    prices = price("x8", 8, "on-demand", 55.04), price("x8", 8, "reserved-3y", 20.70)
    supply = "purchase: [on-demand, reserved-3y]"
    cells = decided(tmp_path, *prices, counts="8", hours=219, supply=supply)
    months = dict(cells.filter(pl.col("tensor_parallel_size") == 8).select(
        "purchase", "usd_per_month").rows())  # fmt: skip
    # 30 % of 730 hours are 219. On demand: 219 x 55.04 = 12,053.76. Reserved pays all 730 hours:
    # 730 x 20.70 = 15,111. From 15,111 / 55.04 = 274.55 hours (37.6 %) on, reserving is cheaper.
    assert months["on-demand"] == pytest.approx(12_053.76)
    assert months["reserved-3y"] == pytest.approx(15_111.00)
    assert cells.filter("is_cheapest")["purchase"].to_list() == ["on-demand"]
    found = break_even(cells.lazy()).collect(engine="in-memory").to_dicts()[0]
    assert found["break_even_hours_per_month"] == pytest.approx(274.546, abs=1e-3)
    assert found["break_even_share"] == pytest.approx(0.3761, abs=1e-4)
    assert found["committed_wins"] is False
    full = decided(tmp_path, *prices, counts="8", hours=730, supply=supply)
    assert full.filter("is_cheapest")["purchase"].to_list() == ["reserved-3y"]


MACHINE = """purchase: [on-demand, owned]
  owned:
    - {gpu: H100, gpu_count: 8, name: rack, purchase_usd: 280000, residual_usd: 40000,
       life_years: 4, discount_rate: 0.08, power_kw: 10.2, load_factor: 0.8, pue: 1.3,
       usd_per_kwh: 0.12, hosting_usd_per_month: 1500, upkeep_share_per_year: 0.03}"""


def test_owned_h100s_against_rental(tmp_path: Path) -> None:
    cells = decided(
        tmp_path, price("x8", 8, "on-demand", 24.0), counts="8", supply=MACHINE
    )  # fmt: skip
    one = cells.filter(pl.col("tensor_parallel_size") == 8)
    owned = one.filter(pl.col("purchase") == "owned").to_dicts()[0]
    # Growth 1.08^4 = 1.36048896; recovery factor 0.08 x 1.36048896 / 0.36048896 = 0.30192080.
    # Capital (280,000 - 40,000 / 1.36048896) x 0.30192080 = (280,000 - 29,401.19) x 0.30192080
    # = 75,661.00 a year. Energy 10.2 x 0.8 x 8,760 x 1.3 x 0.12 = 11,151.13. Hosting 18,000.
    # Upkeep 0.03 x 280,000 = 8,400. Together 113,212.13 a year, 12.9237 an hour, 9,434.34 a month.
    assert owned["usd_per_hour"] == pytest.approx(12.9237, abs=1e-4)
    assert owned["usd_per_month"] == pytest.approx(9_434.34, abs=0.01)
    # Rental: 24 x 730 = 17,520 a month. Owning wins from 9,434.34 / 24 = 393.10 hours a month on.
    assert one.filter(pl.col("purchase") == "on-demand")["usd_per_month"].to_list() == [17_520.0]
    assert cells.filter("is_cheapest")["purchase"].to_list() == ["owned"]
    found = break_even(cells.lazy()).collect(engine="in-memory").to_dicts()[0]
    assert found["break_even_hours_per_month"] == pytest.approx(393.10, abs=0.01)
    # Running costs are 37,551.13 a year, 3,129.26 a month: 280,000 / (17,520 - 3,129.26) = 19.46.
    assert found["break_even_months"] == pytest.approx(19.46, abs=0.01)
    little = decided(
        tmp_path, price("x8", 8, "on-demand", 24.0), counts="8", hours=390, supply=MACHINE
    )
    assert little.filter("is_cheapest")["purchase"].to_list() == ["on-demand"]


@given(rate=st.floats(0.001, 0.5), years=st.floats(0.5, 20))
def test_the_annuity_repays_the_price_at_its_rate(rate: float, years: float) -> None:
    factor = capital_recovery_factor(rate, years)
    present_value = factor * (1 - (1 + rate) ** -years) / rate
    assert present_value == pytest.approx(1.0, rel=1e-9)
    assert factor > 1 / years * 0.999999


def test_without_interest_the_price_is_spread_evenly() -> None:
    machine = Owned("m", "g", 8, purchase_usd=87_600.0, life_years=1, power_kw=1.0)
    assert owned_cost(machine, None).usd_per_hour == pytest.approx(10.0)


def test_a_machine_without_its_own_power_draws_that_of_its_gpus() -> None:
    machine = Owned("m", "g", 8, purchase_usd=1.0, life_years=1, usd_per_kwh=0.1, pue=1.5)
    # 8 x 700 W = 5.6 kW; 5.6 x 8,760 x 1.5 x 0.1 = 7,358.40.
    assert owned_cost(machine, 700.0).energy_usd_per_year == pytest.approx(7_358.40)
    with pytest.raises(ValueError, match="power of m is not known"):
        owned_cost(machine, None)


@pytest.mark.parametrize(
    ("machine", "code"),
    [
        ("{gpu: H100, gpu_count: 8}", "missing-key"),
        ("{gpu: H100, gpu_count: 8, purchase_usd: 9, usd_per_hour: 1}", "contradiction"),
        ("{gpu: H100, gpu_count: 8, purchase_usd: 9}", "missing-key"),
        ("{gpu: H100, gpu_count: 8, usd_per_hour: 9, pue: 1.2}", "unused-key"),
        ("{gpu: H100, gpu_count: 8, purchase_usd: 9, usd_per_kwh: 1, residual_usd: 10}",
         "contradiction"),
        ("{gpu: tpu-v7x, gpu_count: 8, purchase_usd: 9, usd_per_kwh: 0.1}", "unknown-power"),
    ],
)  # fmt: skip
def test_a_machine_must_say_what_it_costs_once(tmp_path: Path, machine: str, code: str) -> None:
    (tmp_path / "prices.csv").write_text(PRICES.format(rows=price("x", 1, "on-demand", 2)), "utf-8")
    supply = f"purchase: [owned]\n  owned: [{machine}]"
    text = SCENARIO.format(counts=8, hours=730, supply=supply)
    found = problems_of(tmp_path, text.replace("gpus: [H100", "gpus: [tpu-v7x, H100"))
    assert code in {problem.code for problem in found}


def test_no_more_owned_machines_are_used_than_there_are() -> None:
    def shape(machines: int | None) -> pl.LazyFrame:
        row = ("h", "owned", None, "rack", 8, "owned", None, 9.0, None, None, machines, None, None)
        return pl.LazyFrame([row], schema=SHAPE_SCHEMA, orient="row")

    cells = pl.LazyFrame({"gpu": ["h"], "gpu_count": [8], "nodes": [1], "replicas": [3]})
    states = [
        with_offers(cells, shape(machines), any_provider=True).collect(engine="in-memory")[
            "price_state"
        ][0]
        for machines in (None, 3, 2)
    ]
    assert states == ["priced", "priced", "no-offer"]


def offers(*rows: tuple[Any, ...]) -> pl.DataFrame:
    schema = {
        name: kind
        for name, kind in load_catalog().offers.schema.items()
        if name not in ("source", "note")
    }
    full = [(*row[:8], row[8], None) for row in rows]
    return pl.DataFrame(full, schema=schema, orient="row")


def supply_of(folder: Path, supply: str) -> Any:
    (folder / "prices.csv").write_text(PRICES.format(rows=price("x1", 1, "on-demand", 2)), "utf-8")
    text = SCENARIO.format(counts=1, hours=730, supply=supply)
    return open_scenario(write(folder, text)).scenario.supply


SIZES = (
    ("acme", "small", "r", "h100-sxm-80gb", 1.0, 8.0, 64.0, "on-demand", 2.0),
    ("acme", "wide", "r", "h100-sxm-80gb", 1.0, 64.0, 64.0, "on-demand", 2.5),
    ("acme", "large", "r", "h100-sxm-80gb", 1.0, 16.0, 256.0, "on-demand", 3.0),
    ("acme", "share", "r", "h100-sxm-80gb", 0.5, 4.0, 32.0, "on-demand", 1.0),
    ("acme", "small", "r", "h100-sxm-80gb", 1.0, 8.0, 64.0, "spot", 1.0),
)


def test_dearer_instances_stay_only_where_they_bring_more_host_memory(tmp_path: Path) -> None:
    shapes = offer_shapes(offers(*SIZES), supply_of(tmp_path, ""))
    assert shapes["instance_type"].to_list() == ["small", "large"]


def test_the_host_that_is_asked_for_decides_before_the_price(tmp_path: Path) -> None:
    asked = supply_of(tmp_path, "host: {min_vcpus: 32}")
    assert offer_shapes(offers(*SIZES), asked)["instance_type"].to_list() == ["wide"]


def test_offloading_needs_a_host_with_room(tmp_path: Path) -> None:
    shapes = offer_shapes(offers(*SIZES), supply_of(tmp_path, "")).lazy()
    cells = pl.LazyFrame(
        {"gpu": ["h100-sxm-80gb"] * 3, "gpu_count": [1] * 3, "nodes": [1] * 3, "replicas": [1] * 3,
         "host_ram_gb": [0.0, 100.0, 500.0]}
    )  # fmt: skip
    found = with_offers(cells, shapes, any_provider=True).collect(engine="in-memory")
    assert found["instance_type"].to_list() == ["small", "large", None]
    assert found["price_state"].to_list() == ["priced", "priced", "no-offer"]


def test_a_discount_may_hold_for_one_way_of_buying(tmp_path: Path) -> None:
    asked = supply_of(
        tmp_path, "purchase: [on-demand, spot]\n  discounts: {acme: {on-demand: 0.25}}"
    )
    shapes = offer_shapes(offers(*SIZES), asked)
    prices = dict(shapes.select("purchase", "instance_usd_per_hour").sort("purchase", "instance_usd_per_hour").unique("purchase", keep="first").rows())  # fmt: skip  # noqa: E501
    assert prices == {"on-demand": 1.5, "spot": 1.0}


def test_a_private_price_book_lies_over_the_public_one(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(
        PRICES.format(
            rows="lambda,gpu_1x_h100_pcie,us-east-1,H100-PCIe,1,26,200,on-demand,1.11,2026-11-02,contract"
        ),
        "utf-8",
    )
    text = SCENARIO.format(counts=1, hours=730, supply="").replace("[acme]", "[lambda]")
    catalog = open_scenario(write(tmp_path, text)).catalog
    found = catalog.offers.filter(
        (pl.col("instance_type") == "gpu_1x_h100_pcie") & (pl.col("region") == "us-east-1")
    )
    assert found["usd_per_hour"].to_list() == [1.11]


@given(need=st.integers(1, 16), replicas=st.integers(1, 40), size=st.sampled_from([1, 2, 4, 8, 16]))
def test_the_instances_paid_hold_every_replica_whole_and_no_fewer_would(
    need: int, replicas: int, size: int
) -> None:
    row = ("h", "a", "r", "x", size, "on-demand", None, 1.0, None, None, None, None, None)
    shapes = pl.LazyFrame([row], schema=SHAPE_SCHEMA, orient="row")
    cells = pl.LazyFrame({"gpu": ["h"], "gpu_count": [need], "nodes": [1], "replicas": [replicas]})
    found = with_offers(cells, shapes, any_provider=True).collect(engine="in-memory").to_dicts()[0]
    if need > size:
        assert (found["price_state"], found["instances"]) == ("no-offer", None)
        return
    each = size // need
    assert found["instances"] * each >= replicas > (found["instances"] - 1) * each


def test_input_and_output_tokens_pay_for_the_whole_month() -> None:
    cells = pl.LazyFrame(
        {"method": ["inference"], "purchase": ["on-demand"], "usd_per_hour": [10.0],
         "tokens_per_second": [1000.0], "replicas": [2], "requests_per_second": [4.0],
         "input_tokens_mean": [1500.0], "output_tokens_mean": [300.0],
         "prefill_tokens_per_second": [20_000.0], "training_tokens": [None], "epochs": [None],
         "runs_per_month": [None]},
        schema_overrides=dict.fromkeys(("training_tokens", "epochs", "runs_per_month"), pl.Float64),
    )  # fmt: skip
    cost = with_cost(cells, hours_per_month=730).collect(engine="in-memory").to_dicts()[0]
    # A request takes 300 / 1,000 = 0.3 s of a replica, 1,500 / 20,000 = 0.075 s for its prompt:
    # a quarter of the cost is input. 4 x 3,600 x 730 = 10,512,000 requests cost 7,300 USD.
    requests = 10_512_000
    assert cost["usd_per_million_input_tokens"] == pytest.approx(
        7_300 * 0.25 / (requests * 1500) * 1e6
    )
    whole = requests * (
        1500 * cost["usd_per_million_input_tokens"] + 300 * cost["usd_per_million_output_tokens"]
    )
    assert whole / 1e6 == pytest.approx(7_300)
    # At full use: 10 USD for 2 x 1,000 x 3,600 tokens.
    assert cost["usd_per_million_tokens"] == pytest.approx(10 / 7.2)


def test_the_age_of_a_price_is_counted_from_the_scenarios_day(tmp_path: Path) -> None:
    cells = decided(tmp_path, price("x1", 1, "on-demand", 2.0))
    assert cells["price_age_days"].to_list() == [19]


def test_the_choice_is_the_same_in_the_plan(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(
        PRICES.format(rows=price("x8", 8, "on-demand", 24.0)), "utf-8"
    )
    text = SCENARIO.format(counts=8, hours=730, supply=MACHINE)
    result = plan_scenario(write(tmp_path, text), command="planner report")
    assert result.plan.totals.usd_per_month == pytest.approx(9_434.34, abs=0.01)


def test_machines_of_limited_number_do_not_displace_those_there_are_more_of(
    tmp_path: Path,
) -> None:
    supply = """purchase: [owned]
  owned:
    - {gpu: H100, gpu_count: 8, name: few, machines: 1, usd_per_hour: 5}
    - {gpu: H100, gpu_count: 8, name: many, machines: 9, usd_per_hour: 7}"""
    shapes = offer_shapes(offers(*SIZES), supply_of(tmp_path, supply))
    cells = pl.LazyFrame(
        {"gpu": ["h100-sxm-80gb"] * 2, "gpu_count": [8] * 2, "nodes": [1] * 2, "replicas": [1, 2]}
    )
    found = with_offers(cells, shapes.lazy(), any_provider=True).collect(engine="in-memory")
    # One replica takes the cheap machine; two take 2 x 7, since there is only one cheap one.
    assert found.sort("replicas").select("instance_type", "usd_per_hour").rows() == [
        ("few", 5.0), ("many", 14.0),
    ]  # fmt: skip


def test_of_one_price_the_larger_host_is_taken(tmp_path: Path) -> None:
    sizes = (
        ("acme", "a-small", "r", "h100-sxm-80gb", 1.0, 8.0, 64.0, "on-demand", 2.0),
        ("acme", "b-wide", "r", "h100-sxm-80gb", 1.0, 32.0, 64.0, "on-demand", 2.0),
    )
    assert offer_shapes(offers(*sizes), supply_of(tmp_path, ""))["instance_type"].to_list() == [
        "b-wide"
    ]


def test_runs_that_last_longer_than_a_month_take_several_machines(tmp_path: Path) -> None:
    rows = price("x1", 1, "on-demand", 2.5), price("x8", 8, "reserved-3y", 8.0)
    (tmp_path / "prices.csv").write_text(PRICES.format(rows="\n".join(rows)), "utf-8")
    text = """\
version: 1
models: [meta-llama/Llama-3.1-8B-Instruct]
catalog: {prices: [prices.csv]}
workloads:
  - {name: tune, method: lora, sequence_tokens: 2048, micro_batch_size: 1,
     demand: {training_tokens: 50_000_000_000, epochs: 3, runs_per_month: 4}}
supply: {gpus: [H100], gpu_counts: [1], providers: [acme], purchase: [on-demand, reserved-3y]}
"""
    cells = {c["purchase"]: c for c in decide(open_scenario(write(tmp_path, text))).to_dicts()}
    # 600e9 tokens at t a second are H hours; ceil(H / 730) runs go on at once. On demand pays H x
    # 2.50 as before; reserved pays every eight of them 730 x 8, not one machine for all.
    hours = 600e9 / cells["on-demand"]["tokens_per_second"] / 3600
    runs = math.ceil(hours / 730)
    assert runs > 8
    assert cells["on-demand"]["replicas"] == runs
    assert cells["on-demand"]["usd_per_month"] == pytest.approx(hours * 2.5)
    assert cells["reserved-3y"]["usd_per_month"] == pytest.approx(math.ceil(runs / 8) * 730 * 8)


LOAD = """    matrix: {context_tokens: [8192], concurrent_sequences: [16]}
    demand: {LOAD, input_tokens: 1500, output_tokens: 300}"""


def loaded(folder: Path, load: str, hours: float = 730) -> dict[str, Any]:
    rows = price("x1", 1, "on-demand", 2.5), price("x8", 8, "on-demand", 18.0)
    (folder / "prices.csv").write_text(PRICES.format(rows="\n".join(rows)), "utf-8")
    text = SCENARIO.format(counts=1, hours=hours, supply="").replace(
        "    matrix: {context_tokens: [4096], concurrent_sequences: [1]}",
        LOAD.replace("LOAD", load),
    )
    cells = decide(open_scenario(write(folder, text)))
    return cells.filter("is_cheapest").to_dicts()[0]


def test_tokens_of_a_day_are_a_request_rate(tmp_path: Path) -> None:
    # 5e9 tokens a day over 86,400 s and 1,800 tokens a request are 32.15 requests a second.
    cell = loaded(tmp_path, "tokens_per_day: 5_000_000_000")
    service = 16 * 300 / cell["tokens_per_second"]
    needed = math.ceil(5e9 / 86_400 / 1_800 * service / 16 / 0.8)
    assert cell["replicas"] == needed
    assert cell["usd_per_hour"] == pytest.approx(min(needed * 2.5, math.ceil(needed / 8) * 18))
    read, written = (cell[f"usd_per_million_{way}_tokens"] for way in ("input", "output"))
    # 5e9 / 1,800 requests a day on 730 / 24 days, in millions: their tokens pay the month.
    requests = 5e9 / 1800 * 730 / 24 / 1e6
    assert requests * (1500 * read + 300 * written) == pytest.approx(cell["usd_per_month"])
    # In 219 hours a month the tokens of a day come 730 / 219 times as fast.
    short = loaded(tmp_path, "tokens_per_day: 1_000_000_000", hours=219)
    rate = 1e9 / 86_400 / 1_800 * 730 / 219
    assert short["replicas"] == math.ceil(rate * service / 16 / 0.8)


def test_users_who_wait_for_their_answer_need_a_place_each_and_no_more(tmp_path: Path) -> None:
    # 40 users at 16 places: three replicas seat everybody, though 40 / 16 / 0.8 would be four.
    assert loaded(tmp_path, "concurrent_users: 40")["replicas"] == 3
    assert loaded(tmp_path, "concurrent_users: 16")["replicas"] == 1
    # A target that is asked for is kept: 40 / 16 / 0.5 = 5.
    assert loaded(tmp_path, "concurrent_users: 40, target_utilisation: 0.5")["replicas"] == 5
    # With a minute between requests each of 600 users is busy S / (S + 60) of the time.
    cell = loaded(tmp_path, "concurrent_users: 600, seconds_between_requests: 60")
    service = 16 * 300 / cell["tokens_per_second"]
    assert cell["replicas"] == math.ceil(600 * service / (service + 60) / 16 / 0.8)


@pytest.mark.parametrize(
    ("load", "code"),
    [
        ("requests_per_second: 4, tokens_per_day: 1000", "contradiction"),
        ("requests_per_second: 4, seconds_between_requests: 9", "missing-key"),
        ("concurrent_users: 0", "out-of-range"),
    ],
)
def test_a_load_is_said_in_one_way(tmp_path: Path, load: str, code: str) -> None:
    (tmp_path / "prices.csv").write_text(PRICES.format(rows=price("x", 1, "on-demand", 2)), "utf-8")
    text = SCENARIO.format(counts=1, hours=730, supply="").replace(
        "    matrix: {context_tokens: [4096], concurrent_sequences: [1]}",
        LOAD.replace("LOAD", load),
    )
    assert code in {problem.code for problem in problems_of(tmp_path, text)}


def test_a_price_of_no_day_is_an_error_at_its_place(tmp_path: Path) -> None:
    row = price("x", 1, "on-demand", 2).replace("2026-11-01", "2026-13-01")
    (tmp_path / "prices.csv").write_text(PRICES.format(rows=row), "utf-8")
    found = problems_of(tmp_path, SCENARIO.format(counts=1, hours=730, supply=""))
    assert [(p.code, p.line) for p in found] == [("bad-value", 2)]
