"""A user's own GPUs, prices, formats and models: a row or a small file, checked with its place."""

import re
from pathlib import Path

import polars as pl
import pytest

from benchmarks.choice import price_book
from planner.catalog import NameProblem, load_catalog, read_rows
from planner.catalog.read_csv import read_csv
from planner.documents import Document, check_document, load_schema, parse_document
from planner.documents.flat import row_rule
from planner.errors import InputProblems
from planner.resolve.arch import read_config
from planner.units import BYTES_PER_GIB

GPU = """\
- id: acme-x1-64gb
  vendor: nvidia
  name: Acme X1
  aliases: [X1]
  memory_gb: 64
  compute_capability: 9.0
  memory_bandwidth_gb_per_second: 2000
  source: data sheet
"""
PRICES = """\
provider,instance_type,region,gpu,gpu_count,purchase,usd_per_hour,price_date,source
acme,x8,rack-1,H100,8,on-demand,14.5,2026-11-01,contract 12
aws,p5.48xlarge,us-east-1,h100-sxm-80gb,8,on-demand,40,2026-11-02,private rate
"""
FORMAT = """\
id: acme-int3-g64
title: Acme 3 bit
family: int4
bits_per_weight: 3
group_size: 64
scale_bits: 16
kept_16bit_roles: [embedding, lm_head, norm]
compute_dtype: bf16
guide_bytes_per_parameter: 0.375
uses: test
notes: test
source: test
"""
MODEL = """\
id: acme/tiny
config:
  model_type: llama
  hidden_size: 64
  intermediate_size: 128
  num_hidden_layers: 2
  num_attention_heads: 4
  num_key_value_heads: 2
  vocab_size: 100
  tie_word_embeddings: true
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def shown(error: pytest.ExceptionInfo[InputProblems]) -> list[str]:
    return [str(problem).rpartition("/")[2] for problem in error.value.problems]


def test_a_gpu_is_one_row(tmp_path: Path) -> None:
    catalog = load_catalog().with_source("gpus", write(tmp_path, "gpus.yaml", GPU))
    row = catalog.gpus.row(by_predicate=pl.col("gpu") == "acme-x1-64gb", named=True)
    assert row["usable_basis"] == "derived"
    assert 62.5 < row["usable_bytes"] / BYTES_PER_GIB < 64
    assert catalog.resolve("gpus", "x1") == "acme-x1-64gb"
    assert catalog.gpu_formats.filter(gpu="acme-x1-64gb", weight_format="fp8").height == 1
    assert load_catalog().gpus.filter(gpu="acme-x1-64gb").height == 0


def test_a_price_is_one_row_of_csv_and_may_replace_a_shipped_one(tmp_path: Path) -> None:
    catalog = load_catalog().with_source("offers", write(tmp_path, "prices.csv", PRICES))
    own = catalog.offers.filter(provider="acme")
    assert own["gpu"].to_list() == ["h100-sxm-80gb"]
    assert str(own["price_date"][0]) == "2026-11-01"
    aws = catalog.offers.filter(
        provider="aws", instance_type="p5.48xlarge", region="us-east-1", purchase="on-demand"
    )
    assert aws["usd_per_hour"].to_list() == [40]
    assert catalog.offers.height == load_catalog().offers.height + 1


def test_a_format_is_one_row(tmp_path: Path) -> None:
    catalog = load_catalog().with_source("formats", write(tmp_path, "formats.yaml", FORMAT))
    row = catalog.formats.row(by_predicate=pl.col("weight_format") == "acme-int3-g64", named=True)
    assert row["bits_per_parameter"] == 3.25
    support = catalog.format_support.filter(weight_format="acme-int3-g64")
    assert set(support["support"]) == {"unsupported"}


def test_a_model_is_one_file(tmp_path: Path) -> None:
    catalog = load_catalog().with_source("models", write(tmp_path, "tiny.yaml", MODEL))
    record = catalog.models()[catalog.resolve("models", "acme/tiny")]
    facts = read_config(record["config"], model="acme/tiny", source="test")
    embedding, attention, mlp, norms = 100 * 64, 64 * 64 * 2 + 64 * 32 * 2, 3 * 64 * 128, 5 * 64
    assert facts.parameters == embedding + 2 * (attention + mlp) + norms


def test_rows_inside_a_scenario_keep_their_place() -> None:
    text = "supply:\n  own_gpus:\n" + "".join(f"    {line}\n" for line in GPU.splitlines())
    document = parse_document(text.replace("memory_gb: 64", "memory_gb: big"), "case.yaml")
    with pytest.raises(InputProblems) as error:
        read_rows(document, "gpus", at=("supply", "own_gpus"))
    assert shown(error) == [
        "case.yaml:7:18: error[wrong-type] $.supply.own_gpus[0].memory_gb: 'big' is not a number"
    ]


def test_an_id_that_is_taken_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "gpus.yaml", GPU.replace("acme-x1-64gb", "l4-24gb"))
    with pytest.raises(InputProblems) as error:
        load_catalog().with_source("gpus", path)
    assert shown(error)[0].startswith("gpus.yaml:1:7: error[duplicate-id] $[0].id: 'l4-24gb'")


def test_the_same_id_twice_in_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputProblems) as error:
        read_rows(write(tmp_path, "gpus.yaml", GPU + GPU), "gpus")
    assert shown(error) == [
        "gpus.yaml:9:7: error[duplicate-id] $[1].id:"
        " 'acme-x1-64gb' is given twice, first as entry 1"
    ]


def test_csv_mistakes_are_all_found_at_their_cells(tmp_path: Path) -> None:
    text = (
        "provider,instance_type,region,gpu,gpu_count,purchase,usd_per_hour,price_date,colour\n"
        "acme,x8,rack-1,H100,eight,on-demand,0,2026-11-01,\n"
        '"acme, inc",x8,rack-1,H100,8,ondemand,14.5,1.11.2026,red\n'
    )
    with pytest.raises(InputProblems) as error:
        read_rows(write(tmp_path, "prices.csv", text), "offers")
    found = shown(error)
    assert [line.split(" ")[0] for line in found] == [
        "prices.csv:2:21:",
        "prices.csv:2:37:",
        "prices.csv:3:30:",
        "prices.csv:3:44:",
        "prices.csv:3:54:",
    ]
    assert "'eight' is not a number" in found[0]
    assert "must be greater than 0" in found[1]
    assert "did you mean 'on-demand'?" in found[2]
    assert "as 2026-11-23" in found[3]
    assert "'colour' is not a known key" in found[4]


def test_an_unknown_gpu_of_a_price_stands_at_its_cell(tmp_path: Path) -> None:
    path = write(tmp_path, "prices.csv", PRICES.replace(",H100,", ",A100,"))
    with pytest.raises(InputProblems) as error:
        load_catalog().with_source("offers", path)
    assert shown(error)[0].startswith("prices.csv:2:16: error[ambiguous-gpu] $[0].gpu: 'A100'")


def test_rows_without_a_place_still_refuse_an_unknown_gpu() -> None:
    with pytest.raises(NameProblem):
        load_catalog().with_rows("offers", [{"provider": "a", "gpu": "nothing-like-it"}])


def test_a_missing_required_column_is_named(tmp_path: Path) -> None:
    text = "provider,instance_type,region,gpu,purchase,usd_per_hour\na,b,c,L4,spot,1\n"
    with pytest.raises(InputProblems, match="'gpu_count' is required"):
        read_rows(write(tmp_path, "prices.csv", text), "offers")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"provider;gpu;usd_per_hour\na;L4;1\n", "not separated by commas"),
        (b"provider,provider\n", "'provider' is given twice"),
        (b"provider,gpu\n\xff,L4\n", "is not UTF-8 text"),
        (b"provider,gpu\na,L4,extra\n", "has 3 cells under 2 column names"),
    ],
)
def test_csv_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(content)
    with pytest.raises(InputProblems, match=message):
        read_rows(path, "offers")


def test_missing_files_and_folders_are_input_problems(tmp_path: Path) -> None:
    for name in ("none.csv", "none.yaml"):
        with pytest.raises(InputProblems, match="no such file"):
            read_rows(tmp_path / name, "offers")
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(InputProblems, match="is a directory"):
        read_rows(folder, "offers")


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(
        b'\xef\xbb\xbfprovider,note,usd_per_hour\r\nacme,"two\nlines, one cell", 1.50 \r\n,,\r\n'
    )
    document = read_csv(path, "offers")
    assert document.data == [
        {"provider": "acme", "note": "two\nlines, one cell", "usd_per_hour": 1.5}
    ]
    assert document.problems == []


def test_ranges_must_rise(tmp_path: Path) -> None:
    text = GPU + "  usable_gib: {low: 63, expected: 62, high: 64}\n"
    with pytest.raises(InputProblems, match="must rise from low over expected to high"):
        read_rows(write(tmp_path, "gpus.yaml", text), "gpus")


def test_an_optimizer_is_one_row(tmp_path: Path) -> None:
    text = "- id: acme-sgd\n  title: Acme SGD\n  full_states: 1\n  source: test\n"
    catalog = load_catalog().with_source("optimizers", write(tmp_path, "optimizers.yaml", text))
    assert catalog.resolve("optimizers", "Acme SGD") == "acme-sgd"
    assert catalog.optimizers.filter(id="acme-sgd")["full_states"].to_list() == [1]


def test_the_examples_of_the_documentation_are_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "catalogs.md").read_text("utf-8")
    blocks = re.findall(r"```(yaml|csv)\n(.*?)```", text, re.DOTALL)
    kinds = {"- id: acme-x1-64gb": "gpus", "provider,": "offers", "- id: acme-int3-g64": "formats"}
    found = set()
    for language, block in blocks:
        for start, kind in kinds.items():
            if block.startswith(start):
                assert read_rows(write(tmp_path, f"{kind}.{language}", block), kind)
                found.add(kind)
    assert found == set(kinds.values())


PRICE = {
    "provider": "acme", "instance_type": "x8", "region": "r", "gpu": "H100", "gpu_count": 8,
    "purchase": "on-demand", "usd_per_hour": 24.0, "price_date": "2026-11-01",
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"usd_per_hour": 0}, {"usd_per_hour": True}, {"usd_per_hour": "24"}, {"purchase": "hire"},
        {"price_date": "01.11.2026"}, {"provider": ""}, {"gpu": None}, {"usd_per_day": 1},
        {"gpu_count": 10**6},
    ],
)  # fmt: skip
def test_the_quick_test_of_a_price_lets_nothing_through_that_the_schema_refuses(
    wrong: dict[str, object],
) -> None:
    is_right = row_rule(load_schema("offers"))
    assert is_right is not None
    assert is_right(PRICE)
    assert not is_right({**PRICE, **wrong})
    document = Document("prices.csv", [PRICE, {**PRICE, **wrong}, PRICE])
    found = check_document(document, "offers")
    assert [problem.path.partition(".")[0] for problem in found] == ["$[1]"]
    lacking = {key: value for key, value in PRICE.items() if key != "region"}
    assert not is_right(lacking)


def test_no_row_of_a_long_price_book_is_lost(tmp_path: Path) -> None:
    rows = read_rows(price_book(tmp_path, 50_000), "offers", catalog=load_catalog())
    assert len({row["instance_type"] for row in rows}) == 50_000


def test_a_price_book_with_line_ends_of_old_is_read(tmp_path: Path) -> None:
    book = price_book(tmp_path, 3)
    book.write_bytes(book.read_bytes().replace(b"\n", b"\r"))
    assert len(read_rows(book, "offers", catalog=load_catalog())) == 3


def test_a_cell_beyond_all_bounds_is_told_at_its_line(tmp_path: Path) -> None:
    book = price_book(tmp_path, 2)
    book.write_text(book.read_text("utf-8") + "\nacme," + "x" * 200_000, "utf-8")
    with pytest.raises(InputProblems) as caught:
        read_rows(book, "offers", catalog=load_catalog())
    assert "can't be read as CSV" in caught.value.problems[0].message
    assert caught.value.problems[0].line == 4
