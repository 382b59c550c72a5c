"""The two sides of a diff: plan files, project folders, or git revisions.

A revision is checked out into a temporary worktree; the user's checkout is not touched.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from planner.errors import InputProblems, OutsideFailure, Problem
from planner.pipeline.project import plan_files
from planner.plan import Plan
from planner.review.project import PROJECT_FILE, find_project
from planner.review.read import plan_files as plan_json_files
from planner.review.read import read_plans

_GIT: Final = ("git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
_PACKAGE: Final = 'name = "llm-capacity-planner"'
_TIMEOUT_SECONDS: Final = 900
_PLAN_IN: Final = """
import sys
from pathlib import Path
out, folder, files = sys.argv[1], sys.argv[2], sys.argv[3:]
try:
    from planner.pipeline.project import write_plans
except ImportError:
    sys.argv = ["planner", "report", *files, "--output", out, "--quiet"]
    from planner.cli import main
    main()
else:
    from planner.errors import PlannerError
    try:
        write_plans(Path(out), Path(folder), [Path(file) for file in files])
    except PlannerError as error:
        sys.exit(str(error))
"""


@dataclass(frozen=True, slots=True)
class Tree:
    """A project as files: `root` holds all it may name, `folder` the project file.

    `files` are the scenario files to plan; empty for all of the project.
    """

    root: Path
    folder: Path
    files: tuple[Path, ...] = ()

    @property
    def has_planner(self) -> bool:
        """Whether the tree brings a planner of its own that is not the running one."""
        marker = self.root / "pyproject.toml"
        if not (self.root / "planner" / "cli" / "__init__.py").is_file() or not marker.is_file():
            return False
        running = Path(__file__).resolve().parents[2]
        return _PACKAGE in marker.read_text("utf-8") and self.root.resolve() != running

    def scenario_files(self) -> list[Path]:
        """The scenario files of this side; none where the revision has none."""
        if self.files:
            return list(self.files)
        try:
            return find_project(self.folder).scenario_files()
        except InputProblems as error:
            if {problem.code for problem in error.problems} == {"no-scenarios"}:
                return []
            raise


@dataclass(frozen=True, slots=True)
class Side:
    """One side: plans as given, or a tree that was planned."""

    label: str
    plans: Mapping[str, Plan]
    tree: Tree | None = None
    is_revision: bool = False


@contextmanager
def open_side(text: str, folder: Path) -> Iterator[Side]:
    """A plan.json, a folder, `REV` or `REV:path`.

    Args:
        text: what the user wrote; an existing path is taken before a revision.
        folder: where relative paths and revisions start from.

    Raises:
        InputProblems: it is none of these, or the plan or project in it is wrong.
        OutsideFailure: git or the disk fails.
    """
    path = folder / text
    if path.exists():
        yield side_of(path, text)
        return
    revision, _, inside = text.partition(":")
    top = git_top(folder)
    commit = resolve_revision(revision, text, folder, top)
    with worktree(top, commit) as root:
        target = root / folder.resolve().relative_to(top) / inside
        if not target.exists():
            message = f"'{inside or '.'}' does not exist in {revision}"
            raise InputProblems([Problem(text, 0, 0, "no-such-file", "", message)])
        short = f"{revision} ({commit[:9]})" if not commit.startswith(revision) else commit[:9]
        try:
            side = side_of(target, f"{short}:{inside}" if inside else short, root=root)
        except InputProblems as error:
            raise _of_revision(error, root, revision) from None
        yield replace(side, is_revision=True)


def _of_revision(error: InputProblems, root: Path, revision: str) -> InputProblems:
    """Problems of a file in the temporary worktree, named as git names the file."""
    return InputProblems(
        replace(problem, file=problem.file.replace(f"{root}/", f"{revision}:"))
        for problem in error.problems
    )


def side_of(path: Path, label: str, *, root: Path | None = None) -> Side:
    """The side that a path on disk stands for."""
    if path.is_file() and path.suffix in (".yaml", ".yml") and path.name != PROJECT_FILE:
        found = root or _root(path.parent)
        tree = Tree(found, path.parent, (path,))
        return Side(label, plan_tree(tree), tree)
    if path.is_dir() and not plan_json_files(path):
        is_project = (path / PROJECT_FILE).is_file() or (path / "scenarios").is_dir()
        if not is_project and root is None:  # a revision may be from before the first scenario
            message = "neither plans nor a project: no plan.json, no planner.yaml, no scenarios/"
            raise InputProblems([Problem(label, 0, 0, "no-plan", "", message)])
        tree = Tree(root or _root(path), path)
        return Side(label, plan_tree(tree), tree)
    return Side(label, read_plans(path))


def _root(folder: Path) -> Path:
    try:
        return git_top(folder)
    except (InputProblems, OutsideFailure):
        return folder


def plan_tree(tree: Tree) -> dict[str, Plan]:
    """The plans of a tree, by its own planner where it brings one.

    Raises:
        InputProblems: the project or a scenario is wrong.
        OutsideFailure: the planner of the tree failed.
    """
    files = tree.scenario_files()
    if not files:
        return {}
    if not tree.has_planner:
        return plan_files(files, find_project(tree.folder))
    with tempfile.TemporaryDirectory(prefix="planner-") as out:
        command = [sys.executable, "-c", _PLAN_IN, out, str(tree.folder), *map(str, files)]
        environment = _environment(tree.root)
        try:
            done = subprocess.run(  # noqa: S603
                command, cwd=tree.root, env=environment, capture_output=True, text=True,
                timeout=_TIMEOUT_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutsideFailure(f"the planner of that revision did not run: {error}") from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise OutsideFailure(f"the planner of that revision failed: {last}")
        return read_plans(Path(out))


def _environment(root: Path) -> dict[str, str]:
    import os

    kept = {k: v for k, v in os.environ.items() if not k.startswith("GITHUB_")}
    return {**kept, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        OutsideFailure: git is missing or says no.
    """
    try:
        done = subprocess.run(  # noqa: S603
            [*_GIT, "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise OutsideFailure(f"git did not run: {error.strerror or error}") from error
    if done.returncode != 0:
        raise OutsideFailure(f"git {arguments[0]}: {done.stderr.strip() or 'failed'}")
    return done.stdout.strip()


def git_top(folder: Path) -> Path:
    """The top of the repository that holds a folder."""
    return Path(git(folder, "rev-parse", "--show-toplevel")).resolve()


def resolve_revision(revision: str, text: str, folder: Path, top: Path) -> str:
    """The commit that a revision names.

    Raises:
        InputProblems: there is no such file and no such revision.
    """
    if not revision or revision.startswith("-"):
        raise _unknown(text)
    try:
        return git(top, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except OutsideFailure:
        raise _unknown(text) from None


def _unknown(text: str) -> InputProblems:
    hint = "in a shallow clone older commits are missing: fetch them first"
    message = "neither a file, nor a folder, nor a git revision"
    return InputProblems([Problem(text, 0, 0, "unknown-side", "", message, hint)])


def merge_base(folder: Path, base: str, head: str) -> str:
    """The commit at which two revisions parted."""
    return git(folder, "merge-base", base, head or "HEAD")


@contextmanager
def worktree(top: Path, commit: str) -> Iterator[Path]:
    """The files of a commit in a temporary folder, which goes again."""
    with tempfile.TemporaryDirectory(prefix="planner-") as folder:
        place = Path(folder).resolve() / "tree"
        git(top, "worktree", "add", "--detach", "--force", str(place), commit)
        try:
            yield place
        finally:
            _remove(top, place)


def _remove(top: Path, place: Path) -> None:
    import shutil

    try:
        git(top, "worktree", "remove", "--force", str(place))
    except OutsideFailure:
        shutil.rmtree(place, ignore_errors=True)
        git(top, "worktree", "prune")


__all__: Sequence[str] = ("Side", "Tree", "merge_base", "open_side", "plan_tree", "worktree")
