"""Figures out of the outputs of engines and tools."""

import json

import pytest

from planner.verify.logs import read_output


def values(text: str) -> dict[str, float | str]:
    reading = read_output(text)
    assert reading is not None
    return dict(reading.values)


def test_vllm_v0_worker_line() -> None:
    found = values(
        "the current vLLM instance can use total_gpu_memory (15.77GiB) x"
        " gpu_memory_utilization (0.90) = 14.20GiB\nmodel weights take 7.51GiB; non_torch_memory"
        " takes 0.39GiB; PyTorch activation peak memory takes 2.53GiB; the rest of the memory"
        " reserved for KV Cache is 3.76GiB.\n# GPU blocks: 3852, # CPU blocks: 4096\n"
    )
    assert found == {
        "weights_gib": 7.51,
        "non_torch_gib": 0.39,
        "activation_peak_gib": 2.53,
        "kv_cache_gib": 3.76,
        "kv_cache_tokens": 3852 * 16,
        "total_gpu_memory_gib": 15.77,
        "gpu_memory_utilization": 0.9,
    }


def test_vllm_v1_startup_of_two_ranks_takes_the_fuller_one() -> None:
    found = values(
        "Initializing a V1 LLM engine (v0.19.0) with config\n"
        "(TP0) Model loading took 7.51 GiB memory and 3.1 seconds\n"
        "(TP1) Model loading took 7.49 GiB memory and 3.1 seconds\n"
        "Available KV cache memory: 63.76 GiB\nGPU KV cache size: 1,044,688 tokens\n"
        "Graph capturing finished in 20 secs, took 0.76 GiB\n"
    )
    assert found["weights_gib"] == 7.51
    assert found["kv_cache_tokens"] == 1044688
    assert found["cuda_graph_gib"] == 0.76
    assert found["engine_version"] == "0.19.0"


def test_sglang_startup() -> None:
    found = values(
        "Load weight begin. avail mem=78.81 GB\n"
        "Load weight end. type=LlamaForCausalLM, avail mem=63.7 GB, mem usage=14.99 GB.\n"
        "KV Cache is allocated. #tokens: 444500, K size: 27.13 GB, V size: 27.13 GB\n"
        "Capture cuda graph end. Time elapsed: 7 s. mem usage=1.23 GB. avail mem=7.1 GB.\n"
    )
    assert found["weights_gib"] == 14.99
    assert found["kv_cache_gib"] == pytest.approx(54.26)
    assert found["kv_cache_tokens"] == 444500
    assert found["cuda_graph_gib"] == 1.23


def test_llama_cpp_buffers_of_the_first_device() -> None:
    found = values(
        "load_tensors:   CPU_Mapped model buffer size =   281.81 MiB\n"
        "load_tensors:        CUDA0 model buffer size =  4403.49 MiB\n"
        "llama_kv_cache_unified:      CUDA0 KV buffer size =  1024.00 MiB\n"
        "llama_context:      CUDA0 compute buffer size =   560.00 MiB\n"
        "llama_context:  CUDA_Host compute buffer size =    24.01 MiB\n"
    )
    assert found["weights_gib"] == pytest.approx(4403.49 / 1024)
    assert found["kv_cache_gib"] == 1.0
    assert found["activation_peak_gib"] == pytest.approx(560 / 1024)


def test_llama_cpp_before_2025_and_its_fork() -> None:
    found = values(
        "llm_load_tensors:        CPU buffer size =  1640.62 MiB\n"
        "llm_load_tensors:      CUDA0 buffer size =  5434.38 MiB\n"
        "llm_load_tensors:      CUDA1 buffer size = 13989.53 MiB\n"
        "llama_kv_cache_init:      CUDA0 KV buffer size =  1536.00 MiB\n"
        "llama_new_context_with_model:  CUDA_Host  output buffer size =     1.95 MiB\n"
        "llama_new_context_with_model:      CUDA0 compute buffer size =   672.01 MiB\n"
    )
    assert found["weights_gib"] == pytest.approx(5434.38 / 1024)
    assert found["kv_cache_gib"] == 1.5
    assert found["activation_peak_gib"] == pytest.approx(672.01 / 1024)


def test_nvidia_smi_processes_and_cards() -> None:
    processes = values("pid, used_gpu_memory [MiB]\n1234, 20480 MiB\n99, 512 MiB\n")
    assert processes == {"total_gib": 20.0, "total_metric": "process"}
    cards = values(
        "memory.used [MiB], memory.total [MiB]\n10240 MiB, 24564 MiB\n1 MiB, 24564 MiB\n"
    )
    assert cards["total_gib"] == 10.0
    assert cards["total_metric"] == "device"


def test_gpustat_prefers_the_process() -> None:
    text = json.dumps(
        {
            "hostname": "a",
            "gpus": [
                {
                    "memory.used": 11000,
                    "memory.total": 24564,
                    "processes": [{"gpu_memory_usage": 10240}],
                }
            ],
        }
    )
    assert values(text)["total_gib"] == 10.0
    assert values(text)["total_metric"] == "process"


def test_nvtop_snapshot() -> None:
    text = json.dumps(
        [{"device_name": "A", "mem_util": "40%", "mem_used": str(8 * 2**30), "mem_total": "24"}]
    )
    assert values(text)["total_gib"] == 8.0


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"allocated_bytes.all.peak": 2**31, "reserved_bytes.all.peak": 2**32}),
        f"OrderedDict([('allocated_bytes.all.peak', {2**31}), ('x', 1)])",
        f"{{'allocated_bytes.all.peak': {2**31}}}",
        f"allocated_bytes.all.peak: {2**31}\nreserved_bytes.all.peak: {2**32}\n",
    ],
)
def test_torch_memory_stats(text: str) -> None:
    found = values(text)
    assert found["total_gib"] == 2.0
    assert found["total_metric"] == "allocated"


def test_anything_else_is_not_recognised() -> None:
    assert read_output("hello\nworld 12 GiB of nothing\n") is None
    assert read_output("[1, 2]") is None
    assert read_output("") is None
