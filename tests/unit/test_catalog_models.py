"""Every shipped model is read by the config reader and gives its check figures."""

import pytest

from planner.catalog import load_catalog, resolve_name
from planner.catalog.load import catalog_files
from planner.resolve.arch import read_config

MODELS = load_catalog().models()


@pytest.mark.parametrize("model", list(MODELS))
def test_reader_gives_the_check_figures(model: str) -> None:
    record = MODELS[model]
    facts = read_config(
        record["config"],
        model=model,
        source="catalog",
        hf_quant_config=record.get("hf_quant_config"),
    )
    check = record["check"]
    assert facts.parameters == check["parameters"]
    if "active_parameters" in check:
        assert facts.active_parameters == check["active_parameters"]
    if "kv_bytes_per_token" in check:
        elements = sum(layer.kv_elements_per_token for layer in facts.layers)
        assert 2 * elements == check["kv_bytes_per_token"]


def test_file_names_are_the_ids() -> None:
    for path in catalog_files("models"):
        model = path.stem.replace("--", "/", 1)
        assert MODELS[model]["id"] == model


def test_all_current_kinds_of_models_are_there() -> None:
    types = {record["config"]["model_type"] for record in MODELS.values()}
    families = {
        "dense": {"llama", "qwen2", "qwen3", "phi3", "olmo2"},
        "latent attention": {"deepseek_v2", "deepseek_v3", "kimi_k2"},
        "sliding window": {"gemma2", "gemma3", "gpt_oss"},
        "experts": {"mixtral", "qwen3_moe", "glm4_moe", "minimax_m2"},
        "hybrid": {"qwen3_next", "nemotron_h", "bamba", "granitemoehybrid", "lfm2_moe"},
        "recurrent": {"mamba", "falcon_mamba"},
        "vision": {"llama4", "mllama", "qwen2_5_vl", "qwen3_vl", "mistral3"},
    }
    for family, wanted in families.items():
        assert wanted <= types, family
    methods = {
        record["config"].get("quantization_config", {}).get("quant_method")
        for record in MODELS.values()
    }
    assert {"fp8", "mxfp4", "gptq", "awq", "compressed-tensors", "modelopt"} <= methods
    tied = {record["config"].get("tie_word_embeddings") for record in MODELS.values()}
    assert {True, False} <= tied


def test_every_model_names_its_source() -> None:
    for model, record in MODELS.items():
        assert record["source"]["repository"], model
        assert record["confidence"] in ("high", "medium"), model
        assert record["check"]["source"], model


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("gpt2", "openai-community/gpt2"),
        ("Qwen3-8B", "Qwen/Qwen3-8B"),
        ("qwen2.5-coder-32b-instruct", "Qwen/Qwen2.5-32B-Instruct"),
    ],
)
def test_model_names_lead_to_ids(typed: str, meant: str) -> None:
    assert resolve_name("models", typed) == meant
