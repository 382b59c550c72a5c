"""Every mistake in a scenario, at once, at its place, with a way out."""

from pathlib import Path

import pytest

from tests.scenarios import GOOD, problems_of


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_correct_scenario_has_no_problems(tmp_path: Path) -> None:
    assert problems_of(tmp_path, GOOD) == ()


CASES = [
    ("unknown key", "context_tokens", "contxt_tokens", 7, "unknown-key",
     "did you mean 'context_tokens'?"),
    ("unknown top key", "supply:", "suply:", 9, "unknown-key", "did you mean 'supply'?"),
    ("unknown model", "Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instuct", 2, "unknown-model",
     "did you mean"),
    ("unknown GPU", "H100]", "H1000]", 10, "unknown-gpu", "did you mean"),
    ("ambiguous GPU", "H100]", "V100]", 10, "unknown-gpu", "v100-sxm2-32gb"),
    ("wrong type", "[4096, 8192]", "[4096, many]", 7, "wrong-type", "'many'"),
    ("quoted number", "[4096, 8192]", '[4096, "8192"]', 7, "wrong-type",
     "remove the quotes: 8192"),
    ("out of range", "[1, 16]", "[0, 16]", 8, "out-of-range", "must be at least 1"),
    ("bad method", "method: inference", "method: inferense", 5, "bad-value",
     "did you mean 'inference'?"),
    ("version", "version: 1", "version: 2", 1, "bad-value", "write 1"),
    ("context too long", "[4096, 8192]", "[4096, 1000000]", 7, "context-too-long",
     "allow_longer_context"),
    ("value twice", "[4096, 8192]", "[4096, 4096]", 7, "duplicate-value", "is already in the list"),
    ("empty list", "[1, 16]", "[]", 8, "bad-value", "must not be empty"),
    ("boolean word", "[1, 16]", "no", 8, "yaml-surprise", "write true or false"),
    ("exponent", "[4096, 8192]", "[1e3]", 7, "yaml-surprise", "write 1000"),
    ("octal", "[1, 16]", "[08]", 8, "yaml-surprise", "write 8"),
    ("unused LoRA", "    matrix:", "    lora: {rank: 8}\n    matrix:", 6, "unused-key",
     "it belongs to lora, dora, qlora"),
    ("unused optimizer", "    matrix:", "    optimizer: adamw\n    matrix:", 6, "unused-key",
     "'optimizer' has no effect"),
    ("unknown format", "    matrix:", "    weight_format: awq-itn4-g128\n    matrix:", 6,
     "unknown-format", "did you mean"),
    ("unknown engine", "    matrix:", "    engine: vlm\n    matrix:", 6, "unknown-engine",
     "did you mean 'vllm'?"),
    ("unknown provider", "supply:", "supply:\n  providers: [awss]", 10, "unknown-provider",
     "did you mean 'aws'?"),
    ("owned without machines", "supply:", "supply:\n  purchase: [owned]", 10, "missing-key",
     "needs 'owned' machines"),
    ("duplicate key", "version: 1", "version: 1\nversion: 1", 2, "duplicate-key",
     "given twice, first on line 1"),
    ("axis twice", "    matrix:", "    context_tokens: 4096\n    matrix:", 8, "contradiction",
     "given twice in this workload"),
    ("for_each of nothing", "    matrix:", "    for_each: [optimizer]\n    matrix:", 6,
     "contradiction", "does not vary"),
    ("exclude of nothing", "supply:",
     "    exclude:\n      - {context_tokens: 4097}\nsupply:", 10, "unused-exclude",
     "excludes nothing"),
    ("budget scope", "supply:", "budgets:\n  - {id: b, scope: {workload: chatt}}\nsupply:", 10,
     "unknown-workload", "did you mean 'chat'?"),
    ("rule of thumb settings", "supply:", "rule_of_thumb: {gradient_bytes: 4}\nsupply:", 9,
     "unused-key", "set estimator: rule-of-thumb"),
    ("model twice", "[meta-llama/Llama-3.1-8B-Instruct]",
     "[meta-llama/Llama-3.1-8B-Instruct, llama-3.1-8b-instruct]", 2, "duplicate-name",
     "is listed twice"),
    ("max_num_seqs below load", "    matrix:",
     "    engine: {name: vllm, max_num_seqs: 8}\n    concurrent_sequences: 16\n    matrix:", 10,
     "contradiction", "given twice"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line", "code", "says"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_mistake_is_named_at_its_line(
    tmp_path: Path, old: str, new: str, line: int, code: str, says: str
) -> None:
    problems = problems_of(tmp_path, changed(old, new))
    matching = [p for p in problems if p.code == code and p.line == line]
    assert matching, [str(p) for p in problems]
    assert any(says in str(p) for p in matching), [str(p) for p in matching]


def test_five_mistakes_are_reported_in_one_run(tmp_path: Path) -> None:
    text = """\
version: 1
models: [meta-llama/Llama-3.1-8B-Instuct]
workloads:
  - name: chat
    method: inference
    weight_format: fp9
    matrix:
      contxt_tokens: [4096]
      concurrent_sequences: [0, 08]
supply:
  gpus: [H1000]
"""
    problems = problems_of(tmp_path, text)
    assert [(p.line, p.code) for p in problems] == [
        (2, "unknown-model"),
        (6, "unknown-format"),
        (8, "unknown-key"),
        (9, "out-of-range"),
        (9, "yaml-surprise"),
        (11, "unknown-gpu"),
    ]


def test_a_fixed_qlora_on_a_16_bit_base_is_a_contradiction(tmp_path: Path) -> None:
    text = GOOD.replace(
        "    method: inference\n    matrix:\n      context_tokens: [4096, 8192]\n"
        "      concurrent_sequences: [1, 16]\n",
        "    method: qlora\n    weight_format: bf16\n    sequence_tokens: 2048\n",
    )
    problems = problems_of(tmp_path, text)
    assert [(p.line, p.code) for p in problems] == [(6, "contradiction")]
    assert "use nf4-dq" in problems[0].hint


def test_the_same_combination_in_a_sweep_is_no_error(tmp_path: Path) -> None:
    text = GOOD.replace(
        "    method: inference\n    matrix:\n      context_tokens: [4096, 8192]\n"
        "      concurrent_sequences: [1, 16]\n",
        "    matrix:\n      method: [lora, qlora]\n      weight_format: [bf16, nf4-dq]\n"
        "    sequence_tokens: 2048\n",
    )
    assert problems_of(tmp_path, text) == ()


def test_longer_contexts_are_taken_where_they_are_allowed(tmp_path: Path) -> None:
    text = changed("[4096, 8192]", "[4096, 1000000]").replace(
        "    matrix:", "    allow_longer_context: true\n    matrix:"
    )
    assert problems_of(tmp_path, text) == ()


def test_a_grid_above_the_limit_is_refused_with_its_size_by_axis(tmp_path: Path) -> None:
    values = ", ".join(str(value) for value in range(1, 3001))
    text = changed("[4096, 8192]", f"[{values}]").replace("[1, 16]", f"[{values}]")
    problems = problems_of(tmp_path, text)
    assert [p.code for p in problems] == ["grid-too-large"]
    assert "36,000,000 cells, more than 5,000,000" in problems[0].message
    assert "context_tokens 3000, concurrent_sequences 3000" in problems[0].message


@pytest.mark.parametrize("name", ["chat", "Chat", "CHAT"])
def test_names_that_give_the_same_case_ids_are_refused(tmp_path: Path, name: str) -> None:
    second = f"  - name: {name}\n    method: inference\n    context_tokens: 512\nsupply:"
    problems = problems_of(tmp_path, changed("supply:", second))
    assert [p.code for p in problems] == ["duplicate-name"]


def test_excluding_every_case_is_refused(tmp_path: Path) -> None:
    text = changed(
        "supply:", "    exclude: [{context_tokens: 4096}, {context_tokens: 8192}]\nsupply:"
    )
    assert [(p.line, p.code) for p in problems_of(tmp_path, text)] == [(9, "no-cases")]


def test_an_include_that_no_method_uses_is_named(tmp_path: Path) -> None:
    text = changed("supply:", "    include: [{sequence_tokens: 77}]\nsupply:")
    assert [(p.line, p.code) for p in problems_of(tmp_path, text)] == [(9, "unused-key")]


def test_an_impossible_date_is_named(tmp_path: Path) -> None:
    text = changed("supply:", 'assumptions: {as_of: "2026-13-41"}\nsupply:')
    assert [(p.line, p.code) for p in problems_of(tmp_path, text)] == [(9, "bad-value")]


def test_a_range_that_falls_is_named(tmp_path: Path) -> None:
    settings = "rule_of_thumb: {overhead_gb: {low: 3, expected: 2, high: 1}}\nsupply:"
    text = changed("supply:", settings).replace(
        "version: 1", "version: 1\nestimator: rule-of-thumb"
    )
    assert [(p.line, p.code) for p in problems_of(tmp_path, text)] == [(10, "bad-range")]


def test_a_config_beside_the_scenario_is_found_from_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    (folder / "own.json").write_text(
        '{"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "vocab_size": 100, '
        '"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, '
        '"max_position_embeddings": 8192}'
    )
    text = changed("[meta-llama/Llama-3.1-8B-Instruct]", "[{id: own, config: own.json}]")
    assert problems_of(folder, text) == ()


def test_a_missing_config_is_reported_with_the_other_mistakes(tmp_path: Path) -> None:
    text = changed(
        "[meta-llama/Llama-3.1-8B-Instruct]", "[{id: own, config: absent.json}]"
    ).replace("H100", "H1000")
    assert [(p.line, p.code) for p in problems_of(tmp_path, text)] == [
        (2, "unreadable-model"),
        (10, "unknown-gpu"),
    ]


def test_control_characters_in_a_message_are_shown_escaped(tmp_path: Path) -> None:
    text = changed("supply:", '"a\\n::error::forged\\e[2J": 1\nsupply:')
    (problem,) = problems_of(tmp_path, text)
    assert "\n" not in str(problem)
    assert "\x1b" not in str(problem)
    assert "a\\n::error::forged" in str(problem)


@pytest.mark.parametrize("version", ["0.10", "0.1", "1_0", "+12"])
def test_a_version_without_quotes_is_shown_as_it_was_written(tmp_path: Path, version: str) -> None:
    engine = f"    engine: {{name: vllm, version: {version}}}\n    matrix:"
    (problem,) = problems_of(tmp_path, changed("    matrix:", engine))
    assert problem.message.startswith(f"{version} is not text")
    assert problem.hint == f'put it in quotes: "{version}"'


def test_two_workloads_of_one_name_are_refused(tmp_path: Path) -> None:
    second = "  - name: chat\n    method: inference\n    context_tokens: 512\nsupply:"
    problems = problems_of(tmp_path, changed("supply:", second))
    assert [p.code for p in problems] == ["duplicate-name"]


@pytest.mark.parametrize("text", ["[]", "3", "just text", "- a\n- b\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    problems = problems_of(tmp_path, text)
    assert problems
    assert all(p.code in ("wrong-type", "missing-key", "bad-value") for p in problems)


def test_the_rule_of_thumb_refuses_a_demand_it_cannot_meet(tmp_path: Path) -> None:
    text = changed("version: 1", "version: 1\nestimator: rule-of-thumb").replace(
        "    matrix:", "    objectives: {time_per_output_token_ms: 50}\n    matrix:"
    )
    assert [(p.line, p.code) for p in problems_of(tmp_path, text)] == [(7, "contradiction")]


def test_a_lora_target_the_model_lacks_is_named(tmp_path: Path) -> None:
    text = GOOD.replace(
        "    method: inference\n    matrix:\n      context_tokens: [4096, 8192]\n"
        "      concurrent_sequences: [1, 16]\n",
        "    method: lora\n    sequence_tokens: 2048\n    lora: {targets: [q_proj, v_prj]}\n",
    )
    problems = problems_of(tmp_path, text)
    assert [(p.line, p.code) for p in problems] == [(7, "unknown-target")]
    assert "did you mean 'v_proj'?" in problems[0].hint
