"""The command in this process: quick, with the exit codes and messages of the real one."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock


@dataclass(frozen=True, slots=True)
class Done:
    """What a run left behind."""

    returncode: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def planner(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Done:
    """Run `planner` in `cwd`."""
    from planner.cli import main

    out, err = io.StringIO(), io.StringIO()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GITHUB_")}
    code: object = 0
    with (
        inside(cwd),
        mock.patch.dict(os.environ, {**clean, **(env or {})}, clear=True),
        mock.patch("sys.argv", ["planner", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return Done(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())
