"""`planner verify` and `planner calibrate` on small files."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from planner.cli import cli
from planner.resolve.engines import read_engine
from planner.verify.formats import measured_format
from planner.verify.run import verify_file
from planner.verify.score import confusion, summary
from tests.inference_tables import LLAMA_8B

HEADER = (
    "id,engine,engine_version,model,weight_format,gpu,gpu_count,tensor_parallel_size,"
    "pipeline_parallel_size,max_model_len,max_num_seqs,max_num_batched_tokens,kv_cache_dtype,"
    "block_size,gpu_memory_utilization,enforce_eager,batch_size,input_tokens,output_tokens,"
    "total_gpu_memory_gib,weights_gib,activation_peak_gib,non_torch_gib,cuda_graph_gib,"
    "kv_cache_gib,kv_cache_tokens,total_gib,total_metric,scope,inferred,source,notes,score\n"
)


def run_line(name: str, **values: str) -> str:
    given = {
        "id": name,
        "engine": "vllm",
        "engine_version": "0.19.0",
        "model": "acme/llama-8b",
        "weight_format": "bf16",
        "gpu": "h100-sxm-80gb",
        "tensor_parallel_size": "1",
        "pipeline_parallel_size": "1",
        "max_model_len": "8192",
        "max_num_seqs": "1024",
        "max_num_batched_tokens": "8192",
        "gpu_memory_utilization": "0.95",
        "total_gpu_memory_gib": "79.19",
        "weights_gib": "14.99",
        "activation_peak_gib": "1.89",
        "non_torch_gib": "0.25",
        "cuda_graph_gib": "0.91",
        "kv_cache_gib": "58.11",
        "kv_cache_tokens": "476016",
        "scope": "per-gpu",
        "score": "yes",
        **values,
    }
    return ",".join(given.get(column, "") for column in HEADER.strip().split(",")) + "\n"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "acme--llama-8b.json").write_text(json.dumps(LLAMA_8B))
    return folder


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_every_printed_component_is_estimated(tmp_path: Path, configs: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + run_line("a"))
    result = invoke("verify", path, "--models", configs, "--json")
    assert result.exit_code == 0
    printed = json.loads(result.output)
    rows = {row["component"]: row for row in printed["rows"]}
    assert set(rows) == {
        "weights_gib",
        "activation_peak_gib",
        "non_torch_gib",
        "cuda_graph_gib",
        "kv_cache_gib",
        "kv_cache_tokens",
    }
    for row in rows.values():
        assert row["reason"] is None
        assert row["low"] <= row["expected"] <= row["high"]
        assert row["expected"] == pytest.approx(row["measured"], rel=0.08)
    assert rows["kv_cache_tokens"]["unit"] == "tokens"
    assert {line["component"] for line in printed["summary"]} == set(rows)


def test_runs_without_an_estimate_are_listed_with_the_reason(tmp_path: Path, configs: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(
        HEADER
        + run_line("a")
        + run_line("b", model="acme/other")
        + run_line("c", weight_format="int3-imagined")
        + run_line("d", gpu="", total_gpu_memory_gib="")
        + run_line("e", model="")
    )
    result = invoke("verify", path, "--models", configs, "--json")
    rows = json.loads(result.stdout)["rows"]
    reasons = {row["id"]: row["reason"] for row in rows if row["component"] == "kv_cache_gib"}
    assert reasons["a"] is None
    assert "acme/other is not in the catalog" in reasons["b"]
    assert "int3-imagined" in reasons["c"]
    assert reasons["d"] == "the memory of the card is not known"
    assert reasons["e"] == "the run names no model"
    text = invoke("verify", path, "--models", configs).output
    assert "without an estimate" in text
    assert "the memory of the card is not known: d" in text


def test_rows_marked_no_are_not_scored_unless_asked(tmp_path: Path, configs: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + run_line("a") + run_line("b", weights_gib="99", score="no"))
    arguments = ("verify", path, "--models", configs, "--json")
    scored, every = invoke(*arguments), invoke(*arguments, "--all")

    def weights(result: Any) -> Any:
        lines = json.loads(result.output)["summary"]
        return next(line for line in lines if line["component"] == "weights_gib")

    assert weights(scored)["rows"] == 1
    assert weights(every)["rows"] == 2


def test_groups_are_the_users_choice(tmp_path: Path, configs: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + run_line("a") + run_line("b", engine_version="0.18.1"))
    result = invoke("verify", path, "--models", configs, "--by", "engine_version,component")
    assert "0.18.1" in result.output
    wrong = invoke("verify", path, "--models", configs, "--by", "colour")
    assert wrong.exception is not None
    assert "colour" in str(wrong.exception)


def test_a_file_may_leave_columns_out(tmp_path: Path, configs: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(
        "id,engine,model,weight_format,weights_gib,kv_cache_gib\n"
        "a,vllm,acme/llama-8b,bf16,14.99,\nb,imagined,acme/llama-8b,bf16,14.99,\n"
    )
    result = invoke("verify", path, "--models", configs, "--json")
    assert result.exit_code == 0, result.output
    rows = {row["id"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["a"]["expected"] == pytest.approx(14.99, rel=0.01)
    assert rows["b"]["reason"] == "unknown engine 'imagined': see 'planner engines list'"


def test_values_that_are_no_numbers_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + run_line("a") + run_line("b", max_num_seqs="many"))
    result = invoke("verify", path)
    assert result.exception is not None
    assert f"{path}:3" in str(result.exception)
    assert "'many' is not a count" in str(result.exception)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("gpu,usd\nh100,3\n")
    result = invoke("verify", path)
    assert "no known kind of measurements" in str(result.exception)


def test_a_log_is_compared_with_the_case_on_the_command_line(tmp_path: Path, configs: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(
        "INFO the current vLLM instance can use total_gpu_memory (79.19GiB) x"
        " gpu_memory_utilization (0.95) = 75.23GiB\nINFO model weights take 14.99GiB;"
        " non_torch_memory takes 0.10GiB; PyTorch activation peak memory takes 1.24GiB;"
        " the rest of the memory reserved for KV Cache is 58.90GiB.\n"
    )
    case = ("--model", "acme/llama-8b", "--engine", "vllm", "--engine-version", "0.7.3")
    more = ("--weight-format", "bf16", "--max-model-len", "8192", "--models", configs)
    result = invoke("verify", log, *case, *more)
    assert result.exit_code == 0, result.output
    assert result.output.count("in range") == 4


def test_calibration_fits_what_has_enough_runs_and_says_what_has_not(
    tmp_path: Path, configs: Path
) -> None:
    path = tmp_path / "runs.csv"
    peaks = [2.40, 2.41, 2.42, 2.40, 2.41, 2.43]
    lines = [
        run_line(
            f"r{i}",
            engine_version="0.22.1",
            activation_peak_gib=str(peak),
            max_model_len=str(8192 + 512 * i),
        )
        for i, peak in enumerate(peaks)
    ]
    path.write_text(HEADER + "".join(lines))
    profile = tmp_path / "mine.yaml"
    result = invoke(
        "calibrate",
        path,
        "--engine",
        "vllm",
        "--engine-version",
        "0.22.1",
        "--models",
        configs,
        "-o",
        profile,
    )
    assert result.exit_code == 0, result.output
    assert "communication_bytes: too few runs (0, needs 5), unchanged" in result.output
    constants = read_engine(profile).profiles[0].constants
    fitted = constants["bytes_per_logit"]
    logits = 2.41 * 2**30 - 32212255 - 8192 * 4096 * 2
    assert fitted.value == pytest.approx(logits / (1024 * 128256), rel=0.01)
    assert fitted.points == 6
    assert constants["communication_bytes"].value > 0


def test_repeats_of_one_configuration_are_too_few(tmp_path: Path, configs: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + "".join(run_line(f"r{i}") for i in range(6)))
    result = invoke("calibrate", path, "--engine", "vllm", "--models", configs)
    few = "weights_share: too few distinct configurations (1 in 6 runs, needs 3), unchanged"
    assert few in result.output


@pytest.mark.parametrize(("version", "runs"), [("0.22", 5), ("0.22.1", 3), ("0.2", 0)])
def test_a_version_takes_in_what_it_begins(
    tmp_path: Path, configs: Path, version: str, runs: int
) -> None:
    versions = ["0.22.1", "0.22.1+cu129", "v0.22.1", "0.22.0", "0.22.2"]
    path = tmp_path / "runs.csv"
    lines = [
        run_line(f"r{i}", engine_version=one, max_model_len=str(8192 + i))
        for i, one in enumerate(versions)
    ]
    path.write_text(HEADER + "".join(lines))
    arguments = ("--engine", "vllm", "--engine-version", version, "--models", configs)
    result = invoke("calibrate", path, *arguments)
    if runs == 0:
        assert "the file has runs of 0.22.0, 0.22.1" in str(result.exception)
    elif runs == 3:
        assert "weights_share: too few runs (3, needs 5)" in result.output
    else:
        assert "90 % within" in result.output


def test_calibration_says_how_many_runs_of_an_older_worker_it_left_out(
    tmp_path: Path, configs: Path
) -> None:
    path, profile = tmp_path / "runs.csv", tmp_path / "mine.yaml"
    lines = [
        run_line(f"r{i}", engine_version="0.8.2", gpu=gpu, max_model_len=str(4096 + 512 * i))
        for i, gpu in enumerate(["h100-sxm-80gb"] * 5 + ["t4-16gb"] * 2)
    ]
    path.write_text(HEADER + "".join(lines))
    arguments = ("--engine", "vllm", "--engine-version", "0.8", "--models", configs, "-o", profile)
    result = invoke("calibrate", path, *arguments)
    assert "left out: 2 runs of an older worker" in result.output
    own = read_engine(profile)
    assert own.fallback is not None
    assert own.profiles[-1].constants["weights_share"].source == "5 runs of runs.csv"


def test_calibration_needs_runs_of_that_engine(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + run_line("a"))
    assert "no inference runs of sglang" in str(
        invoke("calibrate", path, "--engine", "sglang").exception
    )
    assert "unknown engine" in str(invoke("calibrate", path, "--engine", "vlm").exception)


def test_summary_counts_errors_and_coverage() -> None:
    rows = pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "engine": ["e"] * 3,
            "component": ["weights_gib"] * 3,
            "unit": ["gib"] * 3,
            "measured": [10.0, 10.0, 10.0],
            "low": [9.0, 10.5, None],
            "expected": [9.5, 11.0, None],
            "high": [10.5, 12.0, None],
            "scored": [True] * 3,
            "card_gib": [20.0] * 3,
        }
    )
    (line,) = summary(rows).to_dicts()
    assert (line["rows"], line["unestimated"]) == (2, 1)
    assert line["median_error"] == pytest.approx(0.075)
    assert line["worst_error"] == pytest.approx(0.1)
    assert line["bias"] == pytest.approx(0.025)
    assert line["inside"] == 0.5
    assert line["width"] == pytest.approx(0.075)


def test_confusion_of_verdicts() -> None:
    rows = pl.DataFrame(
        {
            "component": ["total_gib"] * 4,
            "scored": [True] * 4,
            "measured": [10.0, 19.0, 10.0, 25.0],
            "expected": [10.0, 19.5, 22.0, 15.0],
            "high": [11.0, 21.0, 23.0, 16.0],
            "card_gib": [20.0] * 4,
        }
    )
    assert confusion(rows) == {
        "fits_and_ran": 1,
        "tight_and_ran": 1,
        "exceeds_but_ran": 1,
        "fits_but_above_card": 1,
        "warned_and_above_card": 0,
    }


def known(name: str) -> str | None:
    ids = ("bf16", "fp8", "fp8-block", "gptq-int4-g128", "q4_k_m", "iq4_ks", "ggml-q4_k")
    return name if name in ids else None


@pytest.mark.parametrize(
    ("name", "own", "expected"),
    [
        ("fp8", (), "fp8"),
        ("fp8", ("fp8-block",), "checkpoint"),
        ("fp8", ("mxfp4", "fp8-block"), "checkpoint"),
        ("fp8", ("mxfp4",), "fp8"),
        ("bf16", ("fp8-block",), "bf16"),
        ("gptq-int4", (), "gptq-int4-g128"),
        ("gptq-int4-odd", ("gptq-int4-g128",), "checkpoint"),
        ("gguf-q4_k_m", (), "q4_k_m"),
        ("gguf-iq4_ks_r4", (), "iq4_ks"),
        ("gguf-q4_k_r4", (), "ggml-q4_k"),
        ("exl2-4.0", (), "exl2-4.0"),
    ],
)
def test_names_of_formats_in_measured_files(name: str, own: tuple[str, ...], expected: str) -> None:
    bits = {"fp8": 8.0, "fp8-block": 8.0, "bf16": 16.0, "gptq-int4-g128": 4.0}
    assert measured_format(name, own, bits, known) == expected


def _serving_times(folder: Path, precision: str) -> list[float]:
    path = folder / "serving.csv"
    path.write_text(
        "id,engine,model,gpu,precision,batch_size,input_tokens,output_tokens,tp_size,"
        "ttft_ms,tpot_ms\n"
        f"a,trtllm,nvidia/Qwen3-32B-NVFP4,b200-sxm-180gb,{precision},8,1000,500,1,90,8\n",
        "utf-8",
    )
    return verify_file(path).rows["expected"].to_list()


def test_a_serving_run_without_a_precision_served_the_checkpoint(tmp_path: Path) -> None:
    assert _serving_times(tmp_path, "")[0] < 0.5 * _serving_times(tmp_path, "bf16")[0]
    assert _serving_times(tmp_path, "")[0] == pytest.approx(
        _serving_times(tmp_path, "fp4")[0], rel=0.1
    )
