"""The accuracy page: tables as Markdown, every section a function of the reference folder."""

from pathlib import Path

from benchmarks.accuracy import SECTIONS, Table, page


def test_tables_become_markdown() -> None:
    text = page([Table("Speed", "How fast.", ("engine", "error"), [("vllm", "3.0 %")])])
    assert "## Speed\n\nHow fast.\n\n| engine | error |\n| --- | --- |\n| vllm | 3.0 % |" in text
    assert text.startswith("# Accuracy")


def test_sections_without_their_files_are_empty(tmp_path: Path) -> None:
    assert [section(tmp_path) for section in SECTIONS] == [[] for _ in SECTIONS]
