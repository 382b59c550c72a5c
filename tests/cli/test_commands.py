"""The other commands, and what all of them share."""

import json
import subprocess
import sys

import pytest

from planner.documents.schema import shipped_folder
from tests.cli.run import planner

GUIDE = shipped_folder("scenarios") / "guide-llama3-8b.yaml"
CASE = "train/llama-3-8b-guide/method=full"


def test_help_lists_every_command() -> None:
    run = planner("--help")
    assert run.returncode == 0
    for command in ("validate", "report", "explain", "estimate", "models", "gpus", "offers"):
        assert f"\n  {command}" in run.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from planner.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('polars', 'jinja2', 'jsonschema', 'huggingface_hub', 'yaml') "
        "if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("[]")


def test_version_is_printed() -> None:
    assert planner("--version").stdout.startswith("planner, version 0.")


def test_a_misspelt_command_names_the_nearest() -> None:
    run = planner("reprot")
    assert run.returncode == 2
    assert "did you mean 'report'?" in run.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("gpus", "list"),
        ("offers", "list", "--gpu", "L4"),
        ("formats", "list"),
        ("optimizers", "list"),
        ("engines", "list"),
        ("models", "list"),
    ],
)
def test_lists_are_text_for_people_and_json_for_programs(arguments: tuple[str, ...]) -> None:
    text = planner(*arguments)
    assert text.returncode == 0, text.stderr
    assert len(text.stdout.splitlines()) > 3
    rows = json.loads(planner(*arguments, "--json").stdout)
    assert isinstance(rows, list)
    assert rows


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gpus", "show", "h100"), "h100-sxm-80gb"),
        (("formats", "show", "nf4"), "nf4"),
        (("optimizers", "show", "paged_adamw_8bit"), "paged-adamw-8bit"),
        (("engines", "show", "vllm"), "vocab"),
        (("offers", "show", "p5.48xlarge"), "h100-sxm-80gb"),
    ],
)
def test_show_prints_one_entry(arguments: tuple[str, ...], says: str) -> None:
    run = planner(*arguments)
    assert run.returncode == 0, run.stderr
    assert says in run.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("gpus", "show", "h1000"),
        ("gpus", "show", "V100"),
        ("formats", "show", "nf5"),
        ("optimizers", "show", "adamx"),
        ("engines", "show", "vlm"),
        ("offers", "show", "p5.48xlarg"),
        ("models", "show", "no-such-model-at-all"),
    ],
)
def test_unknown_names_are_one_message_and_exit_2(arguments: tuple[str, ...]) -> None:
    run = planner(*arguments)
    assert run.returncode == 2
    assert run.stderr
    assert "Traceback" not in run.stderr


def test_explain_puts_numbers_into_formulas() -> None:
    run = planner("explain", GUIDE, "--case", CASE, "--gpu", "H100", "--count", "2")
    assert run.returncode == 0, run.stderr
    assert "8,000,000,000 parameters x 2 bytes" in run.stdout
    assert "exceeds" in run.stdout or "fits" in run.stdout


def test_explain_as_json_holds_the_cell_and_its_ledger() -> None:
    run = planner("explain", GUIDE, "--case", CASE, "--gpu", "H200", "--json")
    found = json.loads(run.stdout)
    assert found["cell"]["weights_gib"] == pytest.approx(16e9 / 2**30, abs=1e-3)
    assert {"item", "low_gib", "expected_gib", "high_gib", "formula"} <= set(found["ledger"][0])


@pytest.mark.parametrize(
    ("case", "gpu", "count", "says"),
    [
        ("train/llama-3-8b-guide/method=ful", "H100", "1", "did you mean"),
        (CASE, "H1000", "1", "did you mean"),
        (CASE, "L4", "1", "not in the supply"),
        (CASE, "H100", "64", "not in the supply"),
    ],
)
def test_explain_of_what_is_not_there_names_what_is(
    case: str, gpu: str, count: str, says: str
) -> None:
    run = planner("explain", GUIDE, "--case", case, "--gpu", gpu, "--count", count)
    assert run.returncode == 2
    assert says in run.stderr


def test_estimate_needs_no_file() -> None:
    run = planner(
        "estimate", "--model", "llama-3.1-8b-instruct", "--gpu", "L40S", "--context-tokens", "4096",
        "--json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    cell = json.loads(run.stdout)["cell"]
    assert cell["weights_gib"] == pytest.approx(8_030_261_248 * 2 / 2**30, rel=0.01)
    assert cell["kv_cache_gib"] == pytest.approx(0.5, rel=0.01)


def test_estimate_of_training() -> None:
    run = planner(
        "estimate", "--model", "llama-3.1-8b-instruct", "--method", "qlora", "--gpu", "rtx 4090",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "fits" in run.stdout


def test_estimate_reports_wrong_options_like_a_scenario() -> None:
    run = planner(
        "estimate", "--model", "llama-3.1-8b-instruct", "--gpu", "L4", "--optimizer", "adamw"
    )
    assert run.returncode == 2
    assert "'optimizer' has no effect" in run.stderr


def test_a_closed_pipe_is_no_error() -> None:
    command = f"set -o pipefail; {sys.executable} -m planner offers list | head -1"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert "Traceback" not in run.stderr
    assert "bug" not in run.stderr
