"""Files of measured runs as users write them: few columns, wrong values, other encodings."""

from pathlib import Path

import pytest

from planner.errors import InputProblems, OutsideFailure
from planner.verify.read import read_measured
from planner.verify.run import verify_file

INFERENCE = "id,engine,model,weights_gib,kv_cache_gib"
RUN = "1,vllm,Qwen/Qwen3-8B,15.3,"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "runs.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"{INFERENCE}\n{RUN}\n",
        f"\ufeff{INFERENCE}\n{RUN}\n",
        f"{INFERENCE},weight_format,gpu\n{RUN},bf16,no-such-card\n2,other,no/such,1\n3,,,,\n",
        "id,engine,model,ttft_ms,tpot_ms\n1,vllm,Qwen/Qwen3-8B,100,20\n",
        "id,engine,model,gpu,concurrency,ttft_ms,tpot_ms\n"
        "1,vllm,Qwen/Qwen3-8B,h100-sxm-80gb,8,100,20\n",
        "id,framework,model,metric,measured_gib\n1,trl,Qwen/Qwen3-8B,allocated,20\n",
    ],
)
def test_files_with_few_columns_are_estimated_or_say_why_not(tmp_path: Path, text: str) -> None:
    rows = verify_file(written(tmp_path, text.encode())).rows
    assert rows.height
    assert rows.filter(rows["expected"].is_null() & rows["reason"].is_null()).is_empty()


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"", "not-csv", 1),
        (b"\xff\xfei\x00d\x00", "not-csv", 1),
        (f"{INFERENCE}\n".encode(), "no-runs", 1),
        (f"{INFERENCE}\n{RUN},,,\n".encode(), "not-csv", 2),
        (f'{INFERENCE}\n{RUN}\n"2,vllm'.encode(), "not-csv", 3),
        (f"id,{INFERENCE}\n1,{RUN}\n".encode(), "duplicate-column", 1),
        (f"{INFERENCE}\n{RUN}\n{RUN}\n".encode(), "duplicate-id", 3),
        (f"{INFERENCE}\n,vllm,Qwen/Qwen3-8B,15,\n".encode(), "missing-id", 2),
        (f"{INFERENCE},batch_size\n{RUN},0\n".encode(), "not-a-number", 2),
        (f"{INFERENCE},batch_size\n{RUN},two\n".encode(), "not-a-number", 2),
        (f"{INFERENCE}\n1,vllm,m,nan,\n".encode(), "not-a-number", 2),
        (f"{INFERENCE}\n1,vllm,m,-15,\n".encode(), "not-a-number", 2),
        (f"{INFERENCE},total_gib\n{RUN},-3\n".encode(), "not-a-number", 2),
        (f"{INFERENCE},gpu_memory_utilization\n{RUN},90\n".encode(), "not-a-number", 2),
        (b"id,engine,model,ttft_ms,tpot_ms\n1,vllm,m,x,20\n", "not-a-number", 2),
        (b"a,b\n1,2\n", "unknown-measurements", 1),
    ],
)
def test_malformed_files_are_named_with_their_line(
    tmp_path: Path, content: bytes, code: str, line: int
) -> None:
    with pytest.raises(InputProblems) as caught:
        read_measured(written(tmp_path, content))
    (problem,) = caught.value.problems
    assert (problem.code, problem.line) == (code, line)


def test_differences_of_free_memory_may_be_negative(tmp_path: Path) -> None:
    """vLLM prints a negative pool where nothing is left for it, and graphs that freed memory."""
    text = f"{INFERENCE},cuda_graph_gib\n1,vllm,m,15.3,-2.1,-0.4\n"
    assert read_measured(written(tmp_path, text.encode())).rows["kv_cache_gib"].to_list() == [
        "-2.1"
    ]


def test_folders_are_outside_failures(tmp_path: Path) -> None:
    with pytest.raises(OutsideFailure):
        read_measured(tmp_path)
