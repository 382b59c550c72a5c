"""The shipped catalogs: complete, sourced, valid, and quick to read."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from planner.catalog import load_catalog
from planner.catalog.load import DATA, catalog_files, catalog_rows
from planner.catalog.read import SCHEMAS, read_source
from planner.catalog.usable import derive_usable_gib
from planner.documents import check_document
from planner.units import BYTES_PER_GIB
from tests.shared import shared_path

OWN_KINDS = ("gpus", "offers", "formats", "models")


@pytest.mark.parametrize("kind", OWN_KINDS)
def test_every_shipped_file_is_valid(kind: str) -> None:
    problems = []
    for path in catalog_files(kind):
        document = read_source(path, kind)
        problems += [*document.problems, *check_document(document, SCHEMAS[kind])]
    assert problems == []


@pytest.mark.parametrize("kind", ["gpus", "formats", "models"])
def test_ids_are_given_once(kind: str) -> None:
    ids = [row["id"] for row in catalog_rows(kind)]
    assert len(ids) == len(set(ids))


def test_catalog_is_wide_enough() -> None:
    catalog = load_catalog()
    assert catalog.gpus.height >= 85
    assert catalog.offers.height >= 300
    assert catalog.offers["provider"].str.split("/").list.first().n_unique() >= 8
    assert len(catalog.models()) >= 120
    assert {"fp32", "bf16", "fp8-block", "nf4-dq", "mxfp4", "nvfp4", "q4_k_m", "iq2_xxs"} <= set(
        catalog.formats["weight_format"]
    )


def test_kinds_are_read_only_when_asked_for() -> None:
    code = (
        "from planner.catalog import load_catalog, load\n"
        "c = load_catalog(); c.gpus.height\n"
        "assert load._model_record.cache_info().currsize == 0\n"
        "assert load._shipped.cache_info().currsize == 2, load._shipped.cache_info()\n"
        "import sys; assert 'jsonschema' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_gpu_has_usable_memory_a_source_and_its_basis() -> None:
    gpus = load_catalog().gpus
    assert gpus["source"].null_count() == 0
    assert set(gpus["usable_basis"]) == {"observed", "observed-smi", "derived"}
    ordered = gpus.select(
        (pl.col("usable_low_bytes") <= pl.col("usable_bytes"))
        & (pl.col("usable_bytes") <= pl.col("usable_high_bytes"))
        & (pl.col("usable_high_bytes") <= pl.col("memory_gb") * BYTES_PER_GIB * 1.01)
        & (pl.col("usable_low_bytes") >= pl.col("memory_gb") * BYTES_PER_GIB * 0.6)
    ).to_series()
    assert ordered.all()


def test_known_cards_have_their_observed_totals() -> None:
    gpus = {row["gpu"]: row for row in load_catalog().gpus.iter_rows(named=True)}
    for gpu, low, high in [("h100-sxm-80gb", 79.1, 79.33), ("l4-24gb", 22.03, 22.17)]:
        assert low <= gpus[gpu]["usable_bytes"] / BYTES_PER_GIB <= high
        assert gpus[gpu]["usable_basis"] == "observed"
    assert gpus["h100-sxm-80gb"]["memory_bandwidth_bytes_per_second"] == 3350e9


def test_derivation_rule_holds_the_observed_cards() -> None:
    rules = catalog_rows("usable_memory")
    for gpu in catalog_rows("gpus"):
        if "usable_gib" not in gpu:
            continue
        low, _, high = derive_usable_gib(gpu, rules)
        assert low <= gpu["usable_gib"]["expected"] <= high, (gpu["id"], low, high)


def test_tensor_rates_are_dense_and_rise_with_fewer_bits() -> None:
    gpus = load_catalog().gpus
    doubled = gpus.filter(pl.col("bf16_dense_tflops") > 3000)["gpu"].to_list()
    assert doubled == []
    for wide, narrow in [
        ("bf16_dense_tflops", "fp8_dense_tflops"),
        ("fp8_dense_tflops", "fp4_dense_tflops"),
    ]:
        worse = gpus.filter(pl.col(narrow) < pl.col(wide))["gpu"].to_list()
        assert worse == []


@pytest.mark.parametrize(
    ("gpu", "weight_format", "support"),
    [
        ("h100-sxm-80gb", "fp8", "native"),
        ("a100-sxm4-80gb", "fp8", "emulated"),
        ("t4-16gb", "fp8", "unsupported"),
        ("t4-16gb", "bf16", "unsupported"),
        ("v100-sxm2-32gb", "bf16", "unsupported"),
        ("v100-sxm2-32gb", "fp16", "native"),
        ("a10-24gb", "bf16", "native"),
        ("b200-sxm-180gb", "nvfp4", "native"),
        ("h100-sxm-80gb", "mxfp4", "emulated"),
        ("t4-16gb", "awq-int4-g128", "native"),
        ("v100-sxm2-32gb", "awq-int4-g128", "unsupported"),
        ("mi300x-192gb", "fp8", "native"),
        ("mi300x-192gb", "nvfp4", "unsupported"),
        ("apple-m3-max", "q4_k_m", "native"),
        ("apple-m3-max", "awq-int4-g128", "unsupported"),
        ("rtx-4090-24gb", "nf4-dq", "native"),
    ],
)
def test_format_support_follows_the_rules(gpu: str, weight_format: str, support: str) -> None:
    row = load_catalog().format_support.row(
        by_predicate=(pl.col("gpu") == gpu) & (pl.col("weight_format") == weight_format),
        named=True,
    )
    assert row["support"] == support
    assert row["reason"]


def test_unsupported_reason_names_what_the_card_lacks() -> None:
    row = load_catalog().format_support.row(
        by_predicate=(pl.col("gpu") == "t4-16gb") & (pl.col("weight_format") == "fp8"), named=True
    )
    assert row["reason"] == "fp8 needs compute capability 8.0; t4-16gb has 7.5"


def test_supported_pairs_leave_out_the_unsupported() -> None:
    catalog = load_catalog()
    assert set(catalog.gpu_formats["support"]) == {"native", "emulated"}
    assert catalog.format_support.height == catalog.gpus.height * catalog.formats.height


def test_offers_are_prices_and_never_placeholders() -> None:
    offers = load_catalog().offers
    assert offers["usd_per_hour"].min() > 0  # type: ignore[operator]
    assert offers.filter(pl.col("usd_per_hour") == 700).height == 0
    assert set(offers["purchase"]) == {"on-demand", "spot", "reserved-3y"}
    assert set(offers["gpu"]) <= set(load_catalog().gpus["gpu"])
    assert offers["source"].null_count() == 0
    undated = offers.filter(pl.col("price_date").is_null())
    assert undated["note"].str.contains("undated").all()


def test_reserved_prices_are_below_on_demand() -> None:
    offers = load_catalog().offers
    key = ["provider", "instance_type", "region", "gpu"]
    both = offers.filter(pl.col("purchase") == "on-demand").join(
        offers.filter(pl.col("purchase") == "reserved-3y"), on=key, suffix="_reserved"
    )
    assert both.height > 50
    assert (both["usd_per_hour_reserved"] < both["usd_per_hour"]).all()


def test_data_lies_inside_the_package() -> None:
    assert DATA.is_relative_to(Path(__file__).parents[2] / "planner")


@pytest.mark.shared
def test_every_reference_card_is_known_by_its_id() -> None:
    table = pl.read_csv(shared_path("reference/hardware/gpus.csv"), infer_schema=False)
    for gpu in table["id"]:
        assert load_catalog().resolve("gpus", gpu)


@pytest.mark.shared
def test_figures_agree_with_the_reference() -> None:
    table = pl.read_csv(shared_path("reference/hardware/gpus.csv"), infer_schema_length=None)
    ours = load_catalog().gpus
    both = table.join(ours, left_on="id", right_on="gpu", how="inner", suffix="_ours")
    assert both.height >= 86
    for theirs, mine, factor in [
        ("memory_bandwidth_gb_s", "memory_bandwidth_bytes_per_second", 1e9),
        ("bf16_dense_tflops", "bf16_dense_tflops_ours", 1),
        ("interconnect_gb_s", "interconnect_bytes_per_second", 1e9),
        ("compute_capability", "compute_capability_ours", 1),
    ]:
        given = both.with_columns(pl.col(theirs).cast(pl.Float64, strict=False)).drop_nulls(theirs)
        off = given.filter((pl.col(theirs) * factor - pl.col(mine)).abs() > 1e-6 * factor)
        assert off["id"].to_list() == [], theirs


@pytest.mark.shared
def test_every_reference_price_is_there_or_left_out_by_rule() -> None:
    table = pl.read_csv(shared_path("reference/hardware/offers.csv"), infer_schema_length=None)
    keys = load_catalog().offers.select("provider", "instance_type", "region").unique()
    missing = table.join(keys, on=["provider", "instance_type", "region"], how="anti")
    explained = missing.filter(
        (pl.col("note").str.contains("historic"))
        | (pl.col("price_usd_per_hour").is_null() & pl.col("spot_price_usd_per_hour").is_null())
        | pl.col("gpu_count").is_null()
    )
    assert missing.height == explained.height
