"""A folder of files that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from planner.errors import OutsideFailure

_DEFAULT_MODE: Final = 0o777


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace `folder` by exactly these files, in one step.

    The files are first written beside the folder and flushed; then the folder is swapped. Where
    anything fails before the swap the old folder stays as it was, and nothing is left behind.
    Entries of the old folder that this program does not write are kept.

    Raises:
        OutsideFailure: the place can't be written (exit code 3).
    """
    _check_names(files)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise OutsideFailure(f"{folder} is a file; the report needs a folder of that name")
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OutsideFailure(f"can't write {folder}: {error.strerror or error}") from error
    try:
        _fill(staged, folder, files)
        _swap(staged, folder)
    except OSError as error:
        raise OutsideFailure(f"can't write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check_names(files: Mapping[str, bytes]) -> None:
    for name in files:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"not a plain file name: {name!r}")


def _fill(staged: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    umask = os.umask(0)
    os.umask(umask)
    staged.chmod(_DEFAULT_MODE & ~umask)
    for name, content in files.items():
        with (staged / name).open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
    if folder.is_dir():
        for entry in folder.iterdir():
            if entry.name not in files:
                _keep(entry, staged / entry.name)


def _keep(entry: Path, target: Path) -> None:
    if entry.is_symlink() or entry.is_file():
        shutil.copy2(entry, target, follow_symlinks=False)
    else:
        shutil.copytree(entry, target, symlinks=True)


def _swap(staged: Path, folder: Path) -> None:
    """Put `staged` in the place of `folder`; the old one comes back if the new one can't go in."""
    if not folder.exists():
        staged.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent)) / "old"
    try:
        folder.rename(aside)
        try:
            staged.rename(folder)
        except OSError:
            with suppress(OSError):
                aside.rename(folder)
            raise
    finally:
        if folder.exists():
            shutil.rmtree(aside.parent, ignore_errors=True)
