"""Strict YAML with positions."""

from pathlib import Path

import pytest

from planner.documents import load_document, parse_document
from planner.errors import InputProblems


def only_problem(text: str) -> str:
    document = parse_document(text, "x.yaml")
    assert len(document.problems) == 1
    return str(document.problems[0])


def refusal(text: str) -> str:
    with pytest.raises(InputProblems) as caught:
        parse_document(text, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", 1),
        ("a: 1_000", 1000),
        ("a: -2", -2),
        ("a: 1.5", 1.5),
        ("a: 1.0e-3", 0.001),
        ("a: true", True),
        ('a: "1"', "1"),
        ('a: "no"', "no"),
        ("a: nothing", "nothing"),
        ("a:", None),
        ("a: null", None),
        ("a: ''", ""),
        ("a: |\n  text\n", "text\n"),
        ("a: [1, x]", [1, "x"]),
        ("a: 0.19.0", "0.19.0"),
        ("a: 2026-11-01", "2026-11-01"),
    ],
)
def test_plain_values_are_read_as_they_look(text: str, value: object) -> None:
    document = parse_document(text, "x.yaml")
    assert document.data == {"a": value}
    assert document.problems == []


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("a: no", "'no' is a boolean to some", "write true or false"),
        ("a: On", "'On' is a boolean to some", '"On" with quotes'),
        ("a: 1e3", "'1e3' is text to some", "write 1000"),
        ("a: 5e-5", "'5e-5' is text to some", "write 5.0e-05"),
        ("a: 08", "starts with a zero", "write 8"),
        ("a: 010", "starts with a zero", "write 10"),
        ("a: 0x10", "not a decimal number", "write 16"),
        ("a: 12:30:00", "base-60", "with quotes"),
        ("a: .inf", "not a usable number", "finite"),
        ("a: !!int 3", "the tag", "remove it"),
        ("a: !python/object:os.system x", "the tag", "remove it"),
        ("a: 1\na: 2", "given twice, first on line 1", ""),
        ("<<: {a: 1}\n", "merge keys", "write the values out"),
        ("a: 99999999999999999999", "too large a number", ""),
        ("? [1, 2]\n: 3", "a key must be plain text", ""),
    ],
)
def test_what_yaml_readers_disagree_about_is_an_error(text: str, says: str, hint: str) -> None:
    shown = only_problem(text)
    assert says in shown
    assert hint in shown


def test_a_doubtful_value_keeps_its_likely_meaning_for_later_checks() -> None:
    assert parse_document("a: 1e3\nb: 08\nc: no", "x").data == {"a": 1000, "b": 8, "c": "no"}


def test_all_problems_of_a_file_are_collected_with_their_places() -> None:
    document = parse_document("a: no\nb: [1, 08]\nc: 1\nc: 2\n", "x.yaml")
    assert [(p.line, p.col, p.path) for p in document.problems] == [
        (1, 4, "$.a"),
        (2, 8, "$.b[1]"),
        (4, 1, "$.c"),
    ]


def test_aliases_are_refused_before_they_expand() -> None:
    bomb = "a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
    assert "anchors and aliases ('a') are not allowed" in refusal(bomb)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert "the file is empty" in refusal(text)


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\ta: 1", "a: 'x", "- a\nb: 1", "{"])
def test_syntax_errors_have_a_place_and_no_traceback(text: str) -> None:
    shown = refusal(text)
    assert shown.startswith("x.yaml:")
    assert "error[yaml-syntax]" in shown


def test_two_documents_in_one_file_are_refused() -> None:
    assert "error[yaml-syntax]" in refusal("a: 1\n---\nb: 2\n")


def test_deep_nesting_is_refused() -> None:
    assert "levels deep" in refusal("a: " + "[" * 60 + "]" * 60)


def test_very_deep_nesting_does_not_end_the_process() -> None:
    assert "error[too-deep]" in refusal("a: " + "[" * 100_000 + "]" * 100_000)


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text("a: 1")
    with pytest.raises(InputProblems, match=r"no such file; did you mean 'chat\.yaml'\?"):
        load_document(tmp_path / "chta.yaml")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputProblems, match="is a directory"):
        load_document(tmp_path)


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\nb: \xff\xfe\n")
    with pytest.raises(InputProblems, match=r"x\.yaml:2:1: error\[not-utf8\]"):
        load_document(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n" * 500_000)
    with pytest.raises(InputProblems, match="is larger than"):
        load_document(path)


def test_a_byte_order_mark_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_document(path).data == {"a": 1}
