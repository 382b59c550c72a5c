"""How long choosing, reading configs, reading a price book and starting take: decides nothing.

`python benchmarks/choice.py` prints a row each, the best of three in processor time.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from planner.catalog.load import load_catalog  # noqa: E402
from planner.catalog.read import read_rows  # noqa: E402
from planner.choose import Limits, best_per_configuration, ranked, with_choice  # noqa: E402
from planner.estimate.cost import with_cost, with_offers  # noqa: E402
from planner.resolve.arch import read_config  # noqa: E402
from planner.resolve.prices import SHAPE_SCHEMA  # noqa: E402


def made_up_cells(cases: int, layouts: int) -> pl.DataFrame:
    """Cases x layouts with made-up verdicts and speeds."""
    chance = random.Random(1)
    rows = cases * layouts

    def draw() -> list[float]:
        return [chance.random() for _ in range(rows)]

    index = pl.int_range(rows, dtype=pl.Int64)
    layout = pl.col("configuration_index")
    return (
        pl.DataFrame({"utilization": draw(), "_speed": draw(), "_token": draw()})
        .with_columns(case_index=index // layouts, configuration_index=index % layouts)
        .with_columns(
            case_id=pl.format("case {}", "case_index"),
            bought_key=pl.format("w{}", pl.col("case_index") // 10),
            method=pl.lit("inference"),
            gpu=pl.format("gpu{}", layout % 5),
            gpu_count=2 ** (layout // 5 % 4),
            nodes=pl.lit(1),
            replicas=1 + (pl.col("_token") * 18).cast(pl.Int64),
            tensor_parallel_size=2 ** (layout // 5 % 4),
            pipeline_parallel_size=1 + layout // 20,
            expert_parallel_size=pl.lit(1),
            context_parallel_size=pl.lit(1),
            sharding=pl.lit("none"),
            verdict=pl.when(pl.col("_speed") < 0.7)
            .then(pl.lit("fits"))
            .otherwise(pl.lit("exceeds")),
            memory_reason=pl.lit("too large"),
            objective_reason=pl.lit(None, pl.String),
            meets_objectives=pl.col("_token") < 0.9,
            tokens_per_second=pl.col("_speed") * 1000 + 1,
            time_to_first_token_ms=pl.col("_speed") * 900,
            time_per_output_token_ms=pl.col("_token") * 50,
            training_tokens=pl.lit(None, pl.Float64),
            epochs=pl.lit(None, pl.Float64),
            runs_per_month=pl.lit(None, pl.Float64),
        )
    )


def made_up_shapes() -> pl.DataFrame:
    """160 offers: five GPUs in ones, twos, fours and eights of four sellers, on demand and spot."""
    return pl.DataFrame(
        [(f"gpu{g}", seller, "r", f"{seller}{n}", n, way, None, n * (1 + g / 3 + price),
          *[None] * 5)
         for g in range(5) for n in (1, 2, 4, 8)
         for seller, price in (("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4))
         for way in ("on-demand", "spot")],
        schema=SHAPE_SCHEMA, orient="row",
    )  # fmt: skip


def chosen(
    cells: pl.DataFrame, shapes: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Every offer of every cell with its choice, the front of each case, and the matrix."""
    offered = with_offers(cells.lazy(), shapes.lazy(), any_provider=False)
    priced = with_cost(offered, hours_per_month=730).with_row_index("cell_index")
    indexed = priced.collect(engine="in-memory")
    table = with_choice(indexed.lazy(), Limits()).collect(engine="in-memory")
    front = ranked(table.lazy()).collect(engine="in-memory")
    matrix = best_per_configuration(table.lazy()).collect(engine="in-memory")
    return table, front, matrix


def price_book(folder: Path, rows: int) -> Path:
    """A file of made-up prices."""
    header = "provider,instance_type,region,gpu,gpu_count,purchase,usd_per_hour,price_date"
    lines = [f"acme,x{n},r{n % 50},H100,8,on-demand,{24 + n / 1e6},2026-11-01" for n in range(rows)]
    file = folder / "prices.csv"
    file.write_text("\n".join([header, *lines]), "utf-8")
    return file


def _seconds(work: Callable[[], object]) -> float:
    found = []
    for _ in range(3):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def main() -> None:
    """Print a row for each."""
    cells, shapes = made_up_cells(1000, 125), made_up_shapes()
    catalog = load_catalog()
    configs = [record["config"] for record in catalog.models().values() if "config" in record]
    rows = {
        "1,000 cases x 1,000 offers and layouts chosen": _seconds(lambda: chosen(cells, shapes))
    }
    name = f"{len(configs)} configs read"
    rows[name] = _seconds(lambda: [read_config(one, model="m", source="") for one in configs])
    with tempfile.TemporaryDirectory() as folder:
        file = price_book(Path(folder), 50_000)
        rows["50,000 prices read"] = _seconds(lambda: read_rows(file, "offers", catalog=catalog))
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "planner", "--help"], check=True, capture_output=True)
    rows["planner --help"] = time.perf_counter() - started
    for name, seconds in rows.items():
        print(f"{name:50}{seconds:8.2f} s")


if __name__ == "__main__":
    main()
