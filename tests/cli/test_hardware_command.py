"""`planner gpus list` and `planner offers list` with their filters."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.cli import cli


def listed(*arguments: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_offers_are_filtered_by_gpu_way_count_host_and_price() -> None:
    rows = listed(
        "offers", "list", "--gpu", "H100", "--gpu", "h200", "--purchase", "on-demand",
        "--min-count", "8", "--min-ram-gb", "1000", "--max-usd-per-gpu-hour", "7",
    )  # fmt: skip
    assert rows
    assert {row["gpu"] for row in rows} == {"h100-sxm-80gb", "h200-sxm-141gb"}
    assert all(row["offer_gpu_count"] >= 8 and row["ram_gb"] >= 1000 for row in rows)
    assert all(row["purchase"] == "on-demand" and row["usd_per_gpu_hour"] <= 7 for row in rows)
    per_gpu = [row["usd_per_gpu_hour"] for row in rows if row["gpu"] == "h100-sxm-80gb"]
    assert per_gpu == sorted(per_gpu)


def test_every_offer_shows_its_age_and_source() -> None:
    rows = listed("offers", "list", "--provider", "AWS", "--as-of", "2026-08-20")
    dated = next(row for row in rows if row["price_date"] == "2026-07-20")
    assert dated["age_days"] == 31
    assert all(row["source"] for row in rows)
    fresh = listed(
        "offers", "list", "--provider", "aws", "--as-of", "2026-08-20", "--max-age-days", "40"
    )
    assert 0 < len(fresh) < len(rows)
    assert all(row["age_days"] <= 40 for row in fresh)


def test_a_price_book_lies_over_the_shipped_prices(tmp_path: Path) -> None:
    book = tmp_path / "own.csv"
    book.write_text(
        "provider,instance_type,region,gpu,gpu_count,purchase,usd_per_hour,price_date,source\n"
        "acme,x8,rack-1,H100,8,on-demand,4.00,2026-11-01,contract\n",
        "utf-8",
    )
    rows = listed("offers", "list", "--gpu", "H100", "--prices", str(book), "--limit", "1")
    assert [(row["provider"], row["usd_per_gpu_hour"]) for row in rows] == [("acme", 0.5)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("offers", "list", "--provider", "awss"), "did you mean 'aws'?"),
        (("offers", "list", "--purchase", "rent"), "on-demand"),
        (("gpus", "list", "--vendor", "nvidea"), "did you mean 'nvidia'?"),
    ],
)
def test_unknown_names_are_errors_with_the_nearest(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_gpus_are_filtered_by_memory_format_and_price() -> None:
    rows = listed("gpus", "list", "--min-gib", "100", "--format", "fp8", "--sold")
    assert "h200-sxm-141gb" in {row["gpu"] for row in rows}
    assert all(row["usable_gib"] >= 100 for row in rows)
    assert all(row["source"] for row in rows)
    assert not {row["gpu"] for row in rows} & {"apple-m2-ultra", "h20-141gb"}
