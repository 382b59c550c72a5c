"""The dependency direction, read from the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "planner"
# An upper layer may import lower ones, never back. Layers on one line may import each other.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("verify", "calibrate"),
    ("pipeline",),
    ("report", "review", "interop"),
    ("plan",),
    ("choose",),
    ("estimate",),
    ("grid",),
    ("layouts",),
    ("resolve",),
    ("scenario",),
    ("catalog",),
    ("documents",),
    ("units", "errors", "__init__"),
)
PURE = {"estimate", "grid", "layouts", "choose", "plan"}
IMPURE_MODULES = {
    "os", "io", "sys", "pathlib", "shutil", "tempfile", "subprocess", "time", "datetime", "random",
    "yaml", "json", "csv", "click", "jinja2", "requests", "httpx", "urllib", "socket",
    "huggingface_hub",
}  # fmt: skip
RANK = {layer: rank for rank, layers in enumerate(LAYERS) for layer in layers}


def imports(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def violations(source: str, layer: str) -> list[str]:
    found = []
    for line, module in imports(source):
        head, _, rest = module.partition(".")
        target = rest.partition(".")[0]
        if head == "planner" and target in RANK and RANK[target] < RANK[layer]:
            found.append(f"{line}: {layer} imports upward: {module}")
        if layer in PURE and head in IMPURE_MODULES:
            found.append(f"{line}: pure layer {layer} imports {module}")
    return found


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "_shipped" not in path.parts]


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_module_imports_only_lower_layers(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert layer in RANK, f"{layer} has no place in the layers"
    assert violations(path.read_text("utf-8"), layer) == []


def test_an_upward_import_is_found() -> None:
    assert violations("from planner.cli import main", "grid")


def test_a_pure_layer_that_reads_files_is_found() -> None:
    assert violations("import pathlib", "estimate")


def test_only_the_hub_modules_know_the_hub_client() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if any(
            module.partition(".")[0] == "huggingface_hub"
            for _, module in imports(path.read_text("utf-8"))
        )
    }
    assert users <= {"resolve/hub.py", "resolve/hubcall.py"}
