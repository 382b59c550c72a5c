"""`planner report` and `planner validate` as a user runs them."""

import csv
import io
import json
from pathlib import Path

import pytest

from planner.documents.schema import shipped_folder
from tests.cli.run import planner
from tests.scenarios import GOOD, write

FILES = {"report.html", "cells.csv", "matrix.csv", "cheapest.csv", "plan.json"}
SCENARIOS = sorted(shipped_folder("scenarios").glob("*.yaml"))


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name in FILES}


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_every_shipped_scenario_gives_the_five_files(scenario: Path, tmp_path: Path) -> None:
    run = planner("report", scenario, "-o", tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert set(written(tmp_path / scenario.stem)) == FILES


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    scenario = write(tmp_path, GOOD)
    for folder in ("one", "two"):
        assert planner("report", scenario, "-o", tmp_path / folder).returncode == 0
    assert written(tmp_path / "one/case") == written(tmp_path / "two/case")


@pytest.mark.slow
def test_where_the_command_is_run_from_changes_nothing(tmp_path: Path) -> None:
    scenario = write(tmp_path, GOOD)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert planner("report", scenario, "-o", tmp_path / "one", cwd=elsewhere).returncode == 0
    assert planner("report", scenario.name, "-o", "two", cwd=tmp_path).returncode == 0
    assert written(tmp_path / "one/case") == written(tmp_path / "two/case")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("report")
    run = planner("report", write(folder, GOOD), "-o", folder)
    assert run.returncode == 0, run.stderr
    return written(folder / "case")


def test_cells_have_the_columns_of_the_contract_in_order(report: dict[str, bytes]) -> None:
    header = report["cells.csv"].decode("utf-8-sig").splitlines()[0].split(",")
    assert header[:12] == [
        "case_id", "workload", "model", "method", "engine", "weight_format", "kv_cache_dtype",
        "context_tokens", "concurrent_sequences", "optimizer", "sequence_tokens",
        "micro_batch_size",
    ]  # fmt: skip
    assert header[51:53] == ["is_cheapest", "is_bought"]
    assert len(header) == len(set(header))


def test_parts_of_a_cell_add_up_to_its_total(report: dict[str, bytes]) -> None:
    parts = (
        "weights", "adapter", "gradients", "optimizer", "activations", "logits", "kv_cache",
        "recurrent_state", "overhead",
    )  # fmt: skip
    rows = [row for row in table(report["cells.csv"]) if row["total_gib"]]
    assert rows
    for row in rows:
        total = sum(float(row[f"{part}_gib"] or 0) for part in parts)
        assert total == pytest.approx(float(row["total_gib"]), abs=0.002)
        assert float(row["total_low_gib"]) <= float(row["total_gib"])
        assert float(row["total_gib"]) <= float(row["total_high_gib"])


def test_every_case_and_configuration_is_in_the_cells(report: dict[str, bytes]) -> None:
    rows = table(report["cells.csv"])
    assert len({row["case_id"] for row in rows}) == 4
    assert len({(row["gpu"], row["gpu_count"]) for row in rows}) == 4
    assert len({(row["case_id"], row["gpu"], row["gpu_count"]) for row in rows}) == 16


def test_each_case_has_at_most_one_cheapest_cell(report: dict[str, bytes]) -> None:
    rows = table(report["cells.csv"])
    for case in {row["case_id"] for row in rows}:
        marked = [r for r in rows if r["case_id"] == case and r["is_cheapest"].lower() == "true"]
        assert len(marked) == 1
        fitting = [
            float(r["usd_per_month"])
            for r in rows
            if r["case_id"] == case and r["verdict"] == "fits" and r["price_state"] == "priced"
        ]
        assert float(marked[0]["usd_per_month"]) == min(fitting)


def test_cells_that_lost_say_why(report: dict[str, bytes]) -> None:
    for row in table(report["cells.csv"]):
        assert row["reason"] or row["is_cheapest"].lower() == "true"


def test_one_alternative_is_bought(report: dict[str, bytes]) -> None:
    rows = table(report["cheapest.csv"])
    assert len(rows) == 4
    assert [row["is_bought"].lower() for row in rows].count("true") == 1


def test_the_plan_carries_its_inputs_and_their_hashes(report: dict[str, bytes]) -> None:
    plan = json.loads(report["plan.json"])
    assert len(plan["inputs"]["scenario_sha256"]) == 64
    assert len(plan["inputs"]["catalog_sha256"]) == 64
    assert plan["inputs"]["resolved"]["version"] == 1


def test_a_wrong_scenario_leaves_an_older_report_as_it_was(tmp_path: Path) -> None:
    scenario = write(tmp_path, GOOD)
    assert planner("report", scenario, "-o", tmp_path / "out").returncode == 0
    before = written(tmp_path / "out/case")
    write(tmp_path, GOOD.replace("L4", "L44"))
    run = planner("report", scenario, "-o", tmp_path / "out")
    assert run.returncode == 2
    assert written(tmp_path / "out/case") == before


def test_one_wrong_file_stops_all_of_them(tmp_path: Path) -> None:
    good = write(tmp_path, GOOD, "good.yaml")
    bad = write(tmp_path, GOOD.replace("version: 1", "version: 3"), "bad.yaml")
    run = planner("report", good, bad, "-o", tmp_path / "out")
    assert run.returncode == 2
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, GOOD)
    run = planner("report", tmp_path / "a/case.yaml", tmp_path / "b/case.yaml", "-o", tmp_path)
    assert run.returncode == 2
    assert "both would write the folder 'case'" in run.stderr


def test_an_output_that_cannot_be_written_is_exit_3(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    run = planner("report", write(tmp_path, GOOD), "-o", blocked / "below")
    assert run.returncode == 3
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"a: [", "error[yaml-syntax]"),
        (b"version: 1\n", "'workloads' is required"),
        (b"a: &x 1\nb: *x\n", "anchors and aliases"),
    ],
)
def test_unreadable_scenarios_are_one_clear_message(
    content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    run = planner("validate", path)
    assert run.returncode == 2
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_missing_files_and_folders_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        run = planner("validate", path)
        assert run.returncode == 2
        assert "error[unreadable]" in run.stderr


def test_problems_of_several_files_come_in_one_run(tmp_path: Path) -> None:
    one = write(tmp_path, GOOD.replace("H100", "H1000"), "one.yaml")
    two = write(tmp_path, GOOD.replace("version: 1", "version: 2"), "two.yaml")
    run = planner("validate", one, two)
    assert run.returncode == 2
    assert "one.yaml:10" in run.stderr
    assert "two.yaml:1" in run.stderr
    assert "2 problems found" in run.stderr


def test_on_github_problems_become_annotations(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("H100", "H1000"))
    run = planner("validate", path, env={"GITHUB_ACTIONS": "true"})
    assert "::error file=" in run.stderr
    assert ",line=10,col=14,title=planner unknown-gpu::" in run.stderr


def test_the_grid_limit_can_be_set(tmp_path: Path) -> None:
    run = planner("validate", write(tmp_path, GOOD), "--max-cells", "3")
    assert run.returncode == 2
    assert "the grid has 16 cells, more than 3" in run.stderr
