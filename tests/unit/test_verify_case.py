"""`planner verify` on a log: what the log says of its run, what the command line adds."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.cli import cli

V1_LOG = (
    "INFO [core.py:93] Initializing a V1 LLM engine (v0.11.0) with config: model='Qwen/Qwen3-8B',"
    " dtype=torch.bfloat16, max_seq_len=8192, tensor_parallel_size=1, pipeline_parallel_size=1,"
    " quantization=None, enforce_eager=False, kv_cache_dtype=auto\n"
    "INFO Model loading took 15.2683 GiB and 3.2 seconds\n"
    "INFO Available KV cache memory: 53.5 GiB\nINFO GPU KV cache size: 389,568 tokens\n"
    "INFO Free memory on device (78.59/79.19 GiB) on startup. Desired GPU memory utilization is"
    " (0.9, 71.27 GiB). Actual usage is 15.27 GiB for weight, 1.43 GiB for peak activation.\n"
)
LLAMA_LOG = (
    "load_tensors: offloaded 33/33 layers to GPU\n"
    "load_tensors:   CPU_Mapped model buffer size =   281.81 MiB\n"
    "load_tensors:        CUDA0 model buffer size =  4403.49 MiB\n"
    "llama_context: n_ctx         = 8192\n"
    "llama_kv_cache:      CUDA0 KV buffer size =  1024.00 MiB\n"
)


def verify(file: Path, *options: Any) -> Any:
    return CliRunner().invoke(cli, ["verify", str(file), *(str(option) for option in options)])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "server.log"
    path.write_text(V1_LOG)
    return path


def rows(result: Any) -> dict[str, Any]:
    return {row["component"]: row for row in json.loads(result.stdout)["rows"]}


def test_a_vllm_log_describes_its_own_run(log: Path) -> None:
    result = verify(log, "--json")
    assert result.exit_code == 0, result.output
    found = rows(result)
    weights = found["weights_gib"]
    assert weights["low"] <= 15.2683 <= weights["high"]
    for name in ("kv_cache_gib", "kv_cache_tokens"):
        assert found[name]["expected"] == pytest.approx(found[name]["measured"], rel=0.1)
    assert result.stderr == ""


def test_llama_cpp_weights_of_a_log_agree_to_a_thousandth(tmp_path: Path) -> None:
    path = tmp_path / "llama.log"
    path.write_text(LLAMA_LOG)
    options = ("--model", "llama-3.1-8b-instruct", "--weight-format", "q4_k_m", "--json")
    found = rows(verify(path, *options))
    assert found["weights_gib"]["expected"] == pytest.approx(4403.49 / 1024, rel=1e-3)
    assert found["kv_cache_gib"]["expected"] == pytest.approx(1.0, rel=1e-3)
    without = verify(path, "--model", "llama-3.1-8b-instruct")
    assert "--weight-format" in str(without.exception)


def test_names_of_the_catalog_are_understood(log: Path) -> None:
    told = ("--model", "qwen3-8b", "--gpu", "H100", "--engine", "vLLM", "--weight-format", "BF16")
    result = verify(log, *told)
    assert result.exit_code == 0, result.output
    assert "no estimate" not in result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpu", "H1000-SXM"), "not a known GPU"),
        (("--model", "Qwen/Qwen3-8BB"), "did you mean"),
        (("--engine", "vlm"), "did you mean 'vllm'"),
        (("--weight-format", "bf61"), "did you mean"),
        (("--weight-format", "q8_o"), "did you mean 'q8_0'?"),
        (("--weight-format", "bf16_m"), "did you mean"),
        (("--kv-cache-dtype", "fp7"), "did you mean"),
        (("--gpu-memory-utilization", "90"), "range"),
        (("--max-model-len", "0"), "range"),
    ],
)
def test_wrong_options_are_usage_errors(log: Path, options: tuple[str, ...], said: str) -> None:
    result = verify(log, *options)
    shown = f"{result.output} {result.exception}"
    code = getattr(result.exception, "exit_code", result.exit_code)
    assert code == 2
    assert said in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--max-model-len", "4096"), "the log says max_model_len 8192, the command line 4096"),
        (("--tensor-parallel-size", "2"), "tensor_parallel_size 1"),
        (("--gpu-memory-utilization", "0.8"), "gpu_memory_utilization 0.9"),
        (("--model", "Qwen/Qwen3-4B"), "the log says model Qwen/Qwen3-8B"),
        (("--engine", "sglang"), "the log says engine vllm"),
        (("--engine-version", "0.9.1"), "engine_version 0.11.0"),
    ],
)
def test_a_command_line_that_contradicts_the_log_is_told(
    log: Path, options: tuple[str, ...], said: str
) -> None:
    result = verify(log, *options)
    assert result.exit_code == 0, result.output
    assert said in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--max-model-len", "8192"),
        ("--model", "qwen3-8b"),
        ("--engine-version", "0.11"),
        ("--weight-format", "bf16"),
    ],
)
def test_a_command_line_that_agrees_is_silent(log: Path, options: tuple[str, ...]) -> None:
    assert verify(log, *options).stderr == ""


def test_a_log_without_figures_says_what_was_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text(V1_LOG.splitlines()[0])
    problem = verify(path).exception
    assert "a vLLM log without memory figures; looked for" in str(problem)
    path.write_text("nothing here\n")
    problem = verify(path, "--model", "Qwen/Qwen3-8B").exception
    assert "no memory figures recognised" in str(problem)
    assert "Model loading took" in str(problem)
    assert getattr(problem, "exit_code", None) == 2


def test_options_of_a_log_do_not_go_with_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("id,engine,model,weights_gib,kv_cache_gib\na,vllm,Qwen/Qwen3-8B,15.3,\n")
    result = verify(path, "--gpu", "L4")
    assert result.exit_code == 2
    assert "--gpu can't describe" in result.output


def test_notes_of_the_profile_are_shown(log: Path) -> None:
    log.write_text(V1_LOG.replace("v0.11.0", "v9.9.9"))
    note = "vLLM 9.9.9 has no profile"
    assert note in verify(log).output
    assert any(note in one for one in json.loads(verify(log, "--json").stdout)["notes"])


def test_columns_that_are_not_read_are_told(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(
        "id,engine,model,weights_gib,kv_cache_gib,max_model_length,colour,source\n"
        "a,vllm,Qwen/Qwen3-8B,15.3,,8192,blue,me\n"
    )
    result = verify(path)
    assert result.exit_code == 0
    assert "'max_model_length' is not read; did you mean 'max_model_len'?" in result.stderr
    assert "columns that are not read: colour" in result.stderr
    assert "source" not in result.stderr
