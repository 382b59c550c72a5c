"""Names in files of measured runs: those of the command line, and what an unknown one leads to."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from planner.cli import cli
from planner.verify.run import verify_file

HEADER = "id,engine,engine_version,model,weight_format,gpu,weights_gib,kv_cache_gib"
SERVING = "id,engine,model,gpu,precision,concurrency,input_tokens,output_tokens,ttft_ms,tpot_ms"
TRAINING = "id,framework,model,method,weight_format,gpu,micro_batch_size,metric,measured_gib"
IDS = {
    "engine": "vllm",
    "engine_version": "0.19.0",
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "weight_format": "bf16",
    "gpu": "h100-sxm-80gb",
    "weights_gib": "14.99",
    "kv_cache_gib": "55",
}


def run(name: str, **values: str) -> str:
    return ",".join([name, *(IDS | values).values()])


def written(folder: Path, *lines: str) -> Path:
    path = folder / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def invoke(command: str, path: Path, *options: str) -> Any:
    return CliRunner().invoke(cli, [command, str(path), *options])


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("gpu", "H100"),
        ("gpu", "NVIDIA H100 80GB HBM3"),
        ("model", "llama-3.1-8b-instruct"),
        ("model", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
        ("engine", "vLLM"),
        ("weight_format", "BF16"),
    ],
)
def test_names_of_the_command_line_give_the_estimate_of_the_id(
    tmp_path: Path, column: str, name: str
) -> None:
    path = written(tmp_path, HEADER, run("a"), run("b", **{column: name}))
    found = verify_file(path)
    assert found.remarks == ()
    estimates = [
        found.rows.filter(pl.col("id") == run).select("component", "low", "expected", "high")
        for run in ("a", "b")
    ]
    assert estimates[0].null_count().sum_horizontal().item() == 0
    assert estimates[0].equals(estimates[1])


@pytest.mark.parametrize(
    ("column", "name", "warning"),
    [
        ("gpu", "H100x", "unknown gpu 'H100x' in {}: did you mean 'H100'"),
        ("gpu", "A100", "ambiguous gpu 'A100' in {}: write "),
        ("engine", "vlm", "unknown engine 'vlm' in {}: did you mean 'vllm'"),
        ("model", "Qwen/Qwen3-8C", "unknown model 'Qwen/Qwen3-8C' in {}: did you mean 'Qwen/"),
        ("weight_format", "q4_k_mm", "unknown weight format 'q4_k_mm' in {}: did you mean 'q4_k"),
    ],
)
def test_an_unknown_name_is_warned_of_once_and_leaves_its_runs_without_an_estimate(
    tmp_path: Path, column: str, name: str, warning: str
) -> None:
    wrong = {column: name}
    path = written(tmp_path, HEADER, run("a"), run("b", **wrong), run("c", **wrong))
    result = invoke("verify", path, "--json")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: " + warning.format(path))
    reasons = {row["id"]: row["reason"] for row in json.loads(result.stdout)["rows"]}
    assert reasons["a"] is None
    assert name in reasons["b"]
    assert name in reasons["c"]


def test_a_run_of_an_unknown_card_has_no_estimate_even_where_its_memory_was_printed(
    tmp_path: Path,
) -> None:
    line = run("a", gpu="H100x")
    rows = verify_file(written(tmp_path, f"{HEADER},total_gpu_memory_gib", f"{line},79.19")).rows
    assert rows["expected"].is_null().all()
    assert rows["reason"].str.starts_with("unknown gpu 'H100x': did you mean 'H100'").all()


def test_a_config_of_that_name_wins_over_the_alias_of_another_model(tmp_path: Path) -> None:
    from tests.inference_tables import QWEN_1_5B

    alias = "meta-llama/Meta-Llama-3.1-8B-Instruct"
    (tmp_path / f"{alias.replace('/', '--')}.json").write_text(json.dumps(QWEN_1_5B))
    path = written(tmp_path, HEADER, run("a", model=alias))
    rows = verify_file(path, models=tmp_path).rows
    weights = rows.filter(pl.col("component") == "weights_gib")
    assert weights["expected"].item() < 4
    assert weights["model"].item() == alias


def test_names_of_serving_and_training_runs_resolve_too(tmp_path: Path) -> None:
    serving = "1,vLLM,llama-3.1-8b-instruct,H100,bf16,8,1000,100,100,20"
    training = "1,trl,llama-3.1-8b-instruct,lora,BF16,H100,1,allocated,20"
    for header, line in ((SERVING, serving), (TRAINING, training)):
        found = verify_file(written(tmp_path, header, line))
        assert set(found.rows["model"]) == {IDS["model"]}
        assert set(found.rows["gpu"]) == {IDS["gpu"]}
        assert not [text for text in found.remarks if "unknown" in text]


def test_calibrate_takes_runs_by_any_name_and_warns_of_unknown_ones(tmp_path: Path) -> None:
    ids = [run(str(i)) for i in range(6)]
    names = [run(str(i), engine="vLLM", model="llama-3.1-8b-instruct") for i in range(6)]
    path = written(tmp_path, HEADER, *ids)
    plain = invoke("calibrate", path, "--engine", "vllm")
    path = written(tmp_path, HEADER, *names, run("x", gpu="H100x", weights_gib="99"))
    named = invoke("calibrate", path, "--engine", "vllm")
    assert plain.stdout == named.stdout
    (line,) = named.stderr.splitlines()
    assert line.startswith(f"warning: unknown gpu 'H100x' in {path}: did you mean 'H100'")


def test_calibrate_leaves_a_v0_worker_out_of_a_version_of_v1(tmp_path: Path) -> None:
    lines = [run(str(i), engine_version="0.8.2") for i in range(6)]
    plain = written(tmp_path, HEADER, *lines)
    alone = invoke("calibrate", plain, "--engine", "vllm", "--engine-version", "0.8")
    v0 = f"{run('v0', engine_version='0.8.2', weights_gib='99')},V0 worker"
    beside = written(tmp_path, f"{HEADER},notes", *lines, v0)
    assert (
        alone.stdout
        == invoke("calibrate", beside, "--engine", "vllm", "--engine-version", "0.8").stdout
    )
    assert "weights_share" in alone.stdout
