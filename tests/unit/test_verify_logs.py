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


V1_CONFIG = (
    "(EngineCore_DP0 pid=7) INFO 11-02 10:00:01 [core.py:93] Initializing a V1 LLM engine"
    " (v0.11.0) with config: model='Qwen/Qwen3-8B', speculative_config=None,"
    " tokenizer='Qwen/Qwen3-8B', dtype=torch.bfloat16, max_seq_len=40960,"
    " tensor_parallel_size=2, pipeline_parallel_size=1, quantization=None, enforce_eager=False,"
    " kv_cache_dtype=auto, device_config=cuda\n"
)


def test_vllm_v1_says_card_fraction_and_settings() -> None:
    found = values(
        "(APIServer pid=1) INFO [api_server.py:1839] vLLM API server version 0.11.0\n"
        "(APIServer pid=1) INFO [utils.py:233] non-default args: {'model': 'Qwen/Qwen3-8B',"
        " 'max_num_seqs': 64, 'block_size': 32, 'gpu_memory_utilization': 0.85}\n" + V1_CONFIG + ""
        "(Worker_TP0 pid=8) INFO [gpu_worker.py:298] Available KV cache memory: 60.2 GiB\n"
        "(Worker_TP0 pid=8) INFO [gpu_worker.py:391] Free memory on device (78.59/79.19 GiB) on"
        " startup. Desired GPU memory utilization is (0.9, 71.27 GiB). Actual usage is 7.64 GiB for"
        " weight, 1.43 GiB for peak activation, 0.13 GiB for non-torch memory, and 0.59 GiB for"
        " CUDAGraph memory.\n"
    )
    assert found == {
        "engine_version": "0.11.0",
        "model": "Qwen/Qwen3-8B",
        "weight_format": "bf16",
        "max_model_len": 40960,
        "max_num_seqs": 64,
        "block_size": 32,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "gpu_memory_utilization": 0.9,
        "total_gpu_memory_gib": 79.19,
        "weights_gib": 7.64,
        "activation_peak_gib": 1.43,
        "non_torch_gib": 0.13,
        "cuda_graph_gib": 0.59,
        "kv_cache_gib": 60.2,
    }


def test_the_pool_of_several_ranks_is_the_smallest() -> None:
    found = values(
        "(Worker_TP0 pid=1) Available KV cache memory: 60.2 GiB\n"
        "(Worker_TP1 pid=2) Available KV cache memory: 59.9 GiB\n"
        "(Worker_TP2 pid=3) Available KV cache memory: 61.0 GiB\n"
        "GPU KV cache size: 900,100 tokens\nGPU KV cache size: 900,000 tokens\n"
        "GPU KV cache size: 900,200 tokens\n"
    )
    assert found == {"kv_cache_gib": 59.9, "kv_cache_tokens": 900000}


@pytest.mark.parametrize("device", ["GPU", "cuda", "CUDA"])
def test_blocks_of_a_v0_engine_in_every_spelling(device: str) -> None:
    line = f"# {device} blocks: 3852, # CPU blocks: 4096\n# {device} blocks: 3900, # CPU blocks: 9"
    assert values(line)["kv_cache_tokens"] == 3852 * 16


def test_of_two_starts_the_last_one_is_read() -> None:
    first = V1_CONFIG + "Model loading took 15.3 GiB\nAvailable KV cache memory: 50.0 GiB\n"
    second = V1_CONFIG.replace("40960", "8192") + "Available KV cache memory: 40.0 GiB\n"
    reading = read_output(first + second)
    assert reading is not None
    assert reading.values["kv_cache_gib"] == 40.0
    assert reading.values["max_model_len"] == 8192
    assert "weights_gib" not in reading.values
    assert reading.notes == ("2 starts in this log; the last is read",)


def test_a_start_that_failed_before_any_figure_does_not_hide_the_one_before() -> None:
    reading = read_output(V1_CONFIG + "Available KV cache memory: 50.0 GiB\n" + V1_CONFIG)
    assert reading is not None
    assert reading.values["kv_cache_gib"] == 50.0
    assert reading.notes == ("2 starts in this log; the last with memory figures is read",)


def test_data_parallel_engines_are_one_start() -> None:
    other = V1_CONFIG.replace("DP0", "DP1")
    pools = "Available KV cache memory: 50.0 GiB\nAvailable KV cache memory: 49.0 GiB\n"
    reading = read_output(V1_CONFIG + other + pools)
    assert reading is not None
    assert reading.values["kv_cache_gib"] == 49.0
    assert reading.notes == ()


SGLANG_ARGS = (
    "[2025-11-02 10:00:00] server_args=ServerArgs(model_path='Qwen/Qwen3-8B', dtype='auto',"
    " quantization=None, kv_cache_dtype='auto', context_length=None, mem_fraction_static=0.84,"
    " max_running_requests=None, chunked_prefill_size=8192, tp_size=2, pp_size=1,"
    " disable_cuda_graph=False)\n"
)


def test_sglang_settings_come_from_its_arguments_and_its_scheduler() -> None:
    found = values(
        SGLANG_ARGS + "[2025-11-02 10:00:09 TP0] KV Cache is allocated. #tokens: 900, K size:"
        " 20.0 GB, V size: 20.0 GB\n"
        "[2025-11-02 10:00:09 TP1] KV Cache is allocated. #tokens: 900, K size: 19.5 GB, V size:"
        " 19.5 GB\n"
        "[2025-11-02 10:00:20] max_total_num_tokens=880, chunked_prefill_size=8192,"
        " max_prefill_tokens=16384, max_running_requests=2048, context_len=40960\n"
    )
    assert found == {
        "kv_cache_gib": 39.0,
        "kv_cache_tokens": 880,
        "gpu_memory_utilization": 0.84,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "max_num_batched_tokens": 8192,
        "max_num_seqs": 2048,
        "max_model_len": 40960,
        "model": "Qwen/Qwen3-8B",
    }


def test_pools_of_one_sglang_rank_add_up() -> None:
    reading = read_output(
        "[x TP0] Load weight begin. avail mem=78.81 GB\n"
        "[x TP0] Load weight end. type=A, avail mem=63.7 GB, mem usage=14.99 GB.\n"
        "[x TP0] KV Cache is allocated. #tokens: 4000, K size: 10.0 GB, V size: 10.0 GB\n"
        "[x TP0] KV Cache is allocated. #tokens: 1000, K size: 2.0 GB, V size: 2.0 GB\n"
        "[x TP0] Load weight end. type=B, avail mem=30 GB, mem usage=1.50 GB.\n"
        "[x TP0] KV Cache is allocated. #tokens: 4000, KV size: 1.5 GB\n"
    )
    assert reading is not None
    assert reading.values == {"weights_gib": 14.99, "kv_cache_gib": 25.5, "kv_cache_tokens": 4000}
    assert reading.free_gib == 78.81  # not the card's size
    assert reading.notes == ("a second model of 1.50 GiB (a draft) is not in weights_gib",)


def test_llama_cpp_caches_of_one_device_add_up_and_the_host_is_left_out() -> None:
    found = values(
        "print_info: file type   = Q4_K - Medium\n"
        "load_tensors: offloaded 30/49 layers to GPU\n"
        "load_tensors:        CUDA0 model buffer size =  4096.00 MiB\n"
        "load_tensors:        CUDA1 model buffer size =  4000.00 MiB\n"
        "load_tensors:    CUDA_Host model buffer size =   512.00 MiB\n"
        "load_tensors:  Vulkan_Host model buffer size =   512.00 MiB\n"
        "llama_context: n_ctx         = 8192\nllama_context: n_ctx_per_seq = 2048\n"
        "llama_context: n_ubatch      = 256\n"
        "llama_kv_cache:      CUDA0 KV buffer size =  1024.00 MiB\n"
        "llama_kv_cache:        CPU KV buffer size =  1024.00 MiB\n"
        "llama_kv_cache:      CUDA0 KV buffer size =   512.00 MiB\n"
        "llama_kv_cache: size = 512.00 MiB (1024 cells), K (q8_0): 256 MiB, V (q8_0): 256 MiB\n"
        "llama_context:      CUDA0 compute buffer size =   256.00 MiB\n"
    )
    assert found == {
        "weights_gib": 4.0,
        "kv_cache_gib": 1.5,
        "activation_peak_gib": 0.25,
        "gpu_count": 2,
        "pipeline_parallel_size": 2,
        "gpu_layers": 30,
        "max_model_len": 8192,
        "max_num_batched_tokens": 256,
        "kv_cache_dtype": "q8_0",
        "weight_format": "gguf-q4_k_m",
    }


def test_llama_cpp_matrices_cut_by_rows_are_a_sum_over_the_cards() -> None:
    found = values(
        "load_tensors:  CUDA0_Split model buffer size =  4096.00 MiB\n"
        "load_tensors:        CUDA0 model buffer size =     1.00 MiB\n"
        "llama_kv_cache:      CUDA0 KV buffer size =  1024.00 MiB\n"
    )
    assert found == {"weights_gib": 4097 / 1024, "kv_cache_gib": 1.0, "scope": "total"}


@pytest.mark.parametrize(
    ("printed", "weight_format"),
    [
        ("Q4_K - Medium", "gguf-q4_k_m"),
        ("Q5_K - Small", "gguf-q5_k_s"),
        ("Q3_K - Large", "gguf-q3_k_l"),
        ("Q2_K - Medium", "gguf-q2_k"),
        ("Q6_K", "gguf-q6_k"),
        ("Q8_0", "gguf-q8_0"),
        ("IQ4_XS - 4.25 bpw", "gguf-iq4_xs"),
        ("IQ3_S mix - 3.66 bpw", "gguf-iq3_m"),
        ("BF16", "gguf-bf16"),
    ],
)
def test_llama_cpp_file_types(printed: str, weight_format: str) -> None:
    text = f"print_info: file type   = {printed}\nCUDA0 KV buffer size = 1.00 MiB\n"
    assert values(text)["weight_format"] == weight_format


def test_a_model_loaded_twice_or_beside_a_draft_counts_once() -> None:
    def load(file: str, size: int) -> str:
        return (
            f"llama_model_loader: loaded meta data with 29 key-value pairs and 292 tensors from"
            f" {file} (version GGUF V3 (latest))\nCUDA0 model buffer size = {size}.00 MiB\n"
        )

    reading = read_output(load("a.gguf", 1000) + load("a.gguf", 1024) + load("draft.gguf", 512))
    assert reading is not None
    assert reading.values["weights_gib"] == 1.0
    assert "draft.gguf" in reading.notes[0]


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
