"""What makes a review ready to adopt: init, hooks, the action and the workflow, each run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.inprocess import planner
from tests.review_repository import commit, edit, git, repository

ROOT = Path(__file__).resolve().parents[2]
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def load(path: Path) -> Any:
    # YAML 1.1 reads the key `on` as true; nothing here needs it.
    return yaml.safe_load(path.read_text("utf-8"))


def run_step(script: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A step as a runner runs it, with this environment's planner."""
    scripts = str(Path(sys.executable).parent)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": f"{scripts}:{os.environ['PATH']}", "HOME": str(folder), **env},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A repository in which a pull request raised the context."""
    repo = repository(tmp_path / "repo")
    git(repo, "checkout", "-q", "-b", "feature")
    edit(repo / "scenarios/chat.yaml", "[8192, 16384]", "[8192, 65536]")
    commit(repo)
    return repo


def test_init_writes_a_project_that_works_and_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "planner.yaml").write_text("version: 1\n")
    done = planner("init", cwd=tmp_path)
    assert done.returncode == 0
    assert "planner.yaml: is there already, kept" in done.stdout
    assert (tmp_path / "planner.yaml").read_text() == "version: 1\n"
    (tmp_path / "planner.yaml").unlink()
    assert planner("init", cwd=tmp_path).returncode == 0
    assert planner("validate", "scenarios/example.yaml", cwd=tmp_path).returncode == 0
    checked = planner("check", "--no-locks", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout


def test_the_template_and_this_repository_have_the_same_workflow() -> None:
    for name in ("planner-diff.yml", "planner-comment.yml"):
        own = (ROOT / ".github/workflows" / name).read_text().splitlines()
        template = (ROOT / "planner/review/templates" / name).read_text().splitlines()
        differ = [a for a, b in zip(own, template, strict=True) if a != b]
        assert all("pip install" in line or "paths:" in line for line in differ)


def test_the_workflow_that_runs_foreign_files_has_no_rights() -> None:
    job = load(ROOT / ".github/workflows/planner-diff.yml")
    assert job["permissions"] == {"contents": "read"}
    text = (ROOT / ".github/workflows/planner-diff.yml").read_text()
    assert "secrets." not in text
    assert "pull_request_target" not in text
    checkout = job["jobs"]["plan"]["steps"][0]
    assert checkout["with"]["persist-credentials"] is False
    comment = load(ROOT / ".github/workflows/planner-comment.yml")
    assert all("checkout" not in s.get("uses", "") for s in comment["jobs"]["comment"]["steps"])
    for file in ("planner-diff.yml", "planner-comment.yml"):
        for step in load(ROOT / ".github/workflows" / file)["jobs"].popitem()[1]["steps"]:
            assert "${{" not in step.get("run", "")
            assert re.search(r"@[0-9a-f]{40}$", step["uses"]) if "uses" in step else True


@needs_bash
@pytest.mark.slow
def test_the_steps_of_the_workflow_run(changed: Path) -> None:
    steps = load(ROOT / "planner/review/templates/planner-diff.yml")["jobs"]["plan"]["steps"]
    summary, outputs = changed / "summary.md", changed / "outputs.txt"
    env = {
        "BASE_SHA": git(changed, "rev-parse", "main"),
        "HEAD_SHA": git(changed, "rev-parse", "HEAD"),
        "GITHUB_RUN_NUMBER": "7",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_ACTIONS": "true",
    }
    codes = {}
    for step in steps:
        if "run" in step and step["name"] != "install":
            done = run_step(step["run"], changed, **env)
            codes[step["name"]] = done.returncode
            if step["name"] == "compare":
                assert "::error file=planner.yaml,line=5" in done.stdout
    assert codes == {"validate": 0, "report": 0, "compare": 1, "summary": 0}
    assert summary.read_text().startswith("<!-- planner-report: plan; schema=1; run=7;")
    assert "gate=failed" in outputs.read_text()
    names = {path.name for path in (changed / "out").iterdir()}
    assert names == {"head", "comment.md", "diff.json", "diff.html", "gate.xml", "plan.sarif"}


@needs_bash
@pytest.mark.slow
@pytest.mark.parametrize(("fail_on", "code"), [("error", 1), ("never", 0)])
def test_the_steps_of_the_action_run(changed: Path, fail_on: str, code: int) -> None:
    action = load(ROOT / "action.yml")
    step = next(s for s in action["runs"]["steps"] if s["name"] == "compare")
    defaults = {name: str(i.get("default", "")) for name, i in action["inputs"].items()}
    given = {**defaults, "base-ref": "main", "fail-on": fail_on}
    env = {
        name: given[re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", value).group(1)]  # type: ignore[union-attr]
        for name, value in step["env"].items()
    }
    extra = {"GITHUB_RUN_NUMBER": "1", "GITHUB_SHA": "abc"}
    extra |= {"GITHUB_STEP_SUMMARY": str(changed / "s"), "GITHUB_OUTPUT": str(changed / "o")}
    done = run_step(step["run"], changed, **env, **extra)
    assert done.returncode == code, done.stderr
    told = dict(line.split("=", 1) for line in (changed / "o").read_text().splitlines())
    wanted = {name for name in action["outputs"] if name != "report-path"}
    assert wanted <= set(told)


@needs_bash
@pytest.mark.parametrize("source", [".pre-commit-hooks.yaml", "template"])
def test_hooks_find_what_they_should(tmp_path: Path, source: str) -> None:
    repo = repository(tmp_path / "repo")
    if source == "template":
        config = load(ROOT / "planner/review/templates/pre-commit-config.yaml")
        hooks = {hook["id"]: hook for hook in config["repos"][0]["hooks"]}
    else:
        hooks = {hook["id"]: hook for hook in load(ROOT / source)}
    hook = hooks["planner-validate"]
    files = [
        name
        for name in ("scenarios/chat.yaml", "scenarios/chat.lock.yaml", "planner.yaml")
        if re.search(hook["files"], name) and not re.search(hook["exclude"], name)
    ]
    assert files == ["scenarios/chat.yaml"]
    words = hook["entry"].split()[1:]
    assert planner(*words, *files, cwd=repo).returncode == 0
    edit(repo / "scenarios/chat.yaml", "concurrent_sequences", "concurent_sequences")
    assert planner(*words, *files, cwd=repo).returncode == 2
    assert hooks["planner-check"]["pass_filenames"] is False


_HARNESS = """
const fs = require("fs");
const state = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const script = fs.readFileSync(process.argv[3], "utf8");
const log = [];
const core = { info: (text) => { log.push("info: " + text); } };
const context = { repo: { owner: "o", repo: "r" }, payload: { workflow_run: state.run } };
const github = {
  paginate: async () => state.comments,
  rest: {
    pulls: { list: async () => ({ data: state.pulls }) },
    issues: {
      listComments: null,
      createComment: async (a) => log.push("create " + a.issue_number + "\\n" + a.body),
      updateComment: async (a) => log.push("update " + a.comment_id + "\\n" + a.body),
    },
  },
};
const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
new AsyncFunction("core", "context", "github", "require", script)(core, context, github, require)
  .then(() => console.log(log.join("\\n")));
"""


def post(folder: Path, comment: str | None, *, comments: list[Any], sha: str = "abc") -> str:
    """What the posting script does with a comment."""
    steps = load(ROOT / ".github/workflows/planner-comment.yml")["jobs"]["comment"]["steps"]
    (folder / "out").mkdir(exist_ok=True)
    if comment is not None:
        (folder / "out/comment.md").write_text(comment)
    state = {
        "run": {"head_sha": "abc", "head_branch": "b", "run_number": 5,
                "head_repository": {"owner": {"login": "fork"}}},
        "pulls": [{"number": 12, "head": {"sha": sha}}],
        "comments": comments,
    }  # fmt: skip
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "harness.js").write_text(_HARNESS)
    (folder / "script.js").write_text(steps[-1]["with"]["script"])
    done = subprocess.run(
        ["node", "harness.js", "state.json", "script.js"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


COMMENT = "<!-- planner-report: plan; schema=1; run=999; head=evil -->\n### Capacity plan\n"


@needs_node
def test_the_comment_is_made_once_then_updated(tmp_path: Path) -> None:
    made = post(tmp_path, COMMENT, comments=[])
    assert made.startswith(
        "create 12\n<!-- planner-report: plan; schema=1; run=5; head=abc -->\n###"
    )
    body = made.partition("\n")[2]
    mine = {"id": 3, "user": {"type": "Bot"}, "body": body}
    assert post(tmp_path, COMMENT, comments=[mine]).startswith("update 3\n")


@needs_node
def test_an_older_run_never_overwrites_a_newer_comment(tmp_path: Path) -> None:
    newer = COMMENT.replace("run=999", "run=6")
    mine = {"id": 3, "user": {"type": "Bot"}, "body": newer}
    assert "a newer run posted" in post(tmp_path, COMMENT, comments=[mine])
    assert "a newer commit" in post(tmp_path, COMMENT, comments=[], sha="def")


@needs_node
@pytest.mark.parametrize("comment", [None, "", "# something else\n"])
def test_nothing_is_posted_without_a_comment_of_ours(tmp_path: Path, comment: str | None) -> None:
    assert post(tmp_path, comment, comments=[]).startswith("info: ")


@needs_node
def test_a_comment_of_a_person_is_left_alone(tmp_path: Path) -> None:
    theirs = {"id": 9, "user": {"type": "User"}, "body": COMMENT}
    assert post(tmp_path, COMMENT, comments=[theirs]).startswith("create 12")
