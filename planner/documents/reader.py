"""YAML text becomes plain data plus the position of every key and value.

The reader is stricter than YAML 1.1: no tags, no merge keys or anchors, no duplicate keys, and the
words that YAML 1.1 turns into something else (`no`, `1e3`, `08`) are errors that say what to write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from planner.errors import InputProblems, OutsideFailure, Problem

MAX_FILE_BYTES: Final = 2_000_000
MAX_DEPTH: Final = 40
Path_ = tuple[str | int, ...]

_BASE_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")
_FLOAT = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?\Z|[-+]?[0-9]+[eE][-+]?[0-9]+\Z"
)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+\Z")
_NON_DECIMAL = re.compile(r"[-+]?0[xXoObB][0-9a-fA-F_]+\Z")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\Z")
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_YAML11_BOOLEANS = frozenset(
    word for stem in ("yes", "no", "on", "off") for word in (stem, stem.capitalize(), stem.upper())
) | {"y", "Y", "n", "N"}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Mark:
    """A 1-based position in a file."""

    line: int
    col: int


@dataclass(slots=True)
class Document:
    """Plain data of one YAML file, and where each part of it stands.

    `values` maps a path such as `("workloads", 0, "name")` to the mark of its value, `keys` to the
    mark of its key. `problems` are the mistakes of the YAML itself; the data stands in for them
    with the value that was most likely meant, so that one run can report everything. `written` has
    the text of numbers that Python writes otherwise, such as `0.10`.
    """

    file: str
    data: Any
    values: dict[Path_, Mark] = field(default_factory=dict)
    keys: dict[Path_, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    written: dict[Path_, str] = field(default_factory=dict)

    def mark(self, path: Path_, *, key: bool = False) -> Mark:
        """Where a path stands; the nearest parent where the path itself is not in the file."""
        if key and path in self.keys:
            return self.keys[path]
        while path not in self.values and path:
            path = path[:-1]
        return self.values.get(path, Mark(1, 1))

    def problem(
        self, path: Path_, code: str, message: str, hint: str = "", *, key: bool = False
    ) -> Problem:
        """A problem at the position of a path."""
        mark = self.mark(path, key=key)
        return Problem(self.file, mark.line, mark.col, code, json_path(path), message, hint)


def json_path(path: Path_) -> str:
    """`("workloads", 0, "lora")` as `$.workloads[0].lora`."""
    parts = ["$"]
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", part):
            parts.append(f".{part}")
        else:
            parts.append(f"['{part}']")
    return "".join(parts)


def load_document(path: Path, *, shown_as: str | None = None) -> Document:
    """Read a YAML file.

    Raises:
        InputProblems: missing, a directory, too large, not UTF-8, empty, or not the YAML we take.
        OutsideFailure: the file is there but the system refuses to read it.
    """
    name = shown_as or str(path)

    def refuse(message: str, hint: str = "") -> InputProblems:
        return InputProblems([Problem(name, 0, 0, "unreadable", "", message, hint)])

    if path.is_dir():
        raise refuse("is a directory, expected a YAML file", "name the files in it")
    try:
        if path.exists() and not path.is_file():
            raise refuse("is no regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise refuse(f"is larger than {MAX_FILE_BYTES:,} bytes, too large for a scenario")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise refuse("no such file", _near_files(path)) from None
    except OSError as error:
        raise OutsideFailure(f"{name}: can't be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problem = Problem(name, line, 1, "not-utf8", "", "is not UTF-8 text", "save it as UTF-8")
        raise InputProblems([problem]) from None
    return parse_document(text, name)


def _near_files(path: Path) -> str:
    from planner.errors import did_you_mean

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    return did_you_mean(path.name, names)


def parse_document(text: str, file: str) -> Document:
    """Parse YAML text into a Document.

    Raises:
        InputProblems: where the text can't be read on: syntax errors, anchors, an empty file.
            Every other mistake is collected in `problems` of the result.
    """
    _refuse_bombs(text, file)
    try:
        node = yaml.compose(text, Loader=_BASE_LOADER)
    except yaml.YAMLError as error:
        raise InputProblems([_syntax_problem(error, file)]) from None
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value in _NULLS):
        raise InputProblems([Problem(file, 1, 1, "empty", "$", "the file is empty")])
    document = Document(file, None)
    document.data = _build(node, (), document, document.problems)
    return document


def _refuse_bombs(text: str, file: str) -> None:
    """Look at the event stream before anything is built from it.

    Aliases could expand without end, and nesting could exhaust the stack of the C parser, which
    ends the process instead of raising.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_BASE_LOADER):
            line, col = _place(event.start_mark)
            anchor = getattr(event, "anchor", None)
            if anchor is not None:
                message = f"anchors and aliases ('{anchor}') are not allowed"
                hint = "write the value out"
                raise InputProblems([Problem(file, line, col, "anchor", "", message, hint)])
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                message = f"is nested more than {MAX_DEPTH} levels deep"
                raise InputProblems([Problem(file, line, col, "too-deep", "", message)])
    except yaml.YAMLError as error:
        raise InputProblems([_syntax_problem(error, file)]) from None


def _place(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _syntax_problem(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    line, col = _place(mark)
    message = f"{what} ({context})" if context else str(what)
    hint = "indent with spaces, not tabs" if "\\t" in message or "'\t'" in message else ""
    return Problem(file, line, col, "yaml-syntax", "", message, hint)


def _build(node: yaml.Node, path: Path_, document: Document, problems: list[Problem]) -> Any:
    mark = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
    document.values[path] = mark
    if _has_explicit_tag(node):
        problems.append(
            document.problem(path, "tag", f"the tag '{node.tag}' is not allowed", "remove it")
        )
        return None
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, path, document, problems)
    if isinstance(node, yaml.SequenceNode):
        return [
            _build(item, (*path, index), document, problems)
            for index, item in enumerate(node.value)
        ]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, path, document, problems)
    raise AssertionError(f"unknown kind of YAML node {node!r}")


def _has_explicit_tag(node: yaml.Node) -> bool:
    # BaseLoader resolves nothing itself, so any other tag than these was written in the file.
    return node.tag not in (
        None,
        "!",
        "tag:yaml.org,2002:str",
        "tag:yaml.org,2002:seq",
        "tag:yaml.org,2002:map",
    )


def _build_mapping(
    node: yaml.MappingNode, path: Path_, document: Document, problems: list[Problem]
) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = Mark(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if not isinstance(key_node, yaml.ScalarNode):
            document.values[path] = mark
            problems.append(document.problem(path, "bad-key", "a key must be plain text"))
            continue
        key = key_node.value
        if key == "<<" and not key_node.style:
            problems.append(
                Problem(
                    document.file,
                    mark.line,
                    mark.col,
                    "merge-key",
                    json_path(path),
                    "merge keys ('<<') are not allowed",
                    "write the values out",
                )
            )
            continue
        here = (*path, key)
        if key in built:
            first = document.keys[here]
            problems.append(
                Problem(
                    document.file,
                    mark.line,
                    mark.col,
                    "duplicate-key",
                    json_path(here),
                    f"'{key}' is given twice, first on line {first.line}",
                )
            )
            continue
        document.keys[here] = mark
        built[key] = _build(value_node, here, document, problems)
    return built


def _scalar(node: yaml.ScalarNode, path: Path_, document: Document, problems: list[Problem]) -> Any:
    text: str = node.value
    if node.style:  # quoted or block text: None or '' is plain, by parser
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INT.match(text):
        digits = text.replace("_", "")
        if len(digits) <= 18:
            return _number(int(digits), text, path, document)
        problems.append(document.problem(path, "bad-number", f"'{text}' is too large a number"))
        return None
    surprise = _surprise(text)
    if surprise:
        message, hint, meant = surprise
        problems.append(document.problem(path, "yaml-surprise", message, hint))
        return meant
    if _FLOAT.match(text):
        return _number(float(text.replace("_", "")), text, path, document)
    return text


def _number(value: float, text: str, path: Path_, document: Document) -> float:
    if str(value) != text:
        document.written[path] = text
    return value


def _surprise(text: str) -> tuple[str, str, Any] | None:
    """Message, hint and likely value of a plain scalar that YAML readers disagree about."""
    if text in _YAML11_BOOLEANS:
        return (
            f"'{text}' is a boolean to some YAML readers and a word to others",
            f'write true or false, or "{text}" with quotes for the word',
            text,
        )
    if _LEADING_ZERO.match(text):
        plain = int(text.replace("_", ""))
        return (
            f"'{text}' starts with a zero: octal to some YAML readers, decimal to others",
            f'write {plain}, or "{text}" with quotes for text',
            plain,
        )
    if _NON_DECIMAL.match(text):
        value = int(text.replace("_", ""), 0)
        return f"'{text}' is not a decimal number", f"write {value}", value
    if re.fullmatch(r"[-+]?[0-9_]+[eE][-+]?[0-9]+", text):
        number = float(text.replace("_", ""))
        whole = number.is_integer() and abs(number) < 1e15
        meant: Any = int(number) if whole else number
        shown = str(meant) if whole else f"{number:.1e}"
        return (
            f"'{text}' is text to some YAML readers and a number to others",
            f"write {shown}",
            meant,
        )
    if _SEXAGESIMAL.match(text):
        return (
            f"'{text}' is a base-60 number to some YAML readers",
            f'write "{text}" with quotes for text',
            text,
        )
    if text.lstrip("+-").casefold() in (".inf", ".nan"):
        return f"'{text}' is not a usable number", "write a finite number", text
    return None
