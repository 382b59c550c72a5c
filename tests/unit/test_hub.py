"""The hub client against a real server that misbehaves in every way a hub can."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from planner.errors import EXIT_OUTSIDE, InputProblems, OutsideFailure
from planner.resolve import hub, hubcall
from tests import tiny
from tests.hubserver import HubServer, safetensors

TOKEN = "hf_thisIsAVerySecretToken"
MODEL = "acme/tiny"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.4)
    monkeypatch.setattr(hubcall, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(hubcall, "DEADLINE_TIMEOUTS", 4)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    close_session()
    with HubServer() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        running.add(MODEL, tiny.files())
        yield running
    close_session()


def failure(model: str = MODEL, revision: str | None = None) -> str:
    with pytest.raises(OutsideFailure) as caught:
        hub.fetch(model, revision)
    assert caught.value.exit_code == EXIT_OUTSIDE
    message = str(caught.value)
    assert TOKEN not in message
    assert "\n" not in message
    assert message.startswith(model)
    return message


def test_a_snapshot_holds_commit_config_hashes_and_headers(server: HubServer) -> None:
    repo = server.repos[MODEL]
    found = hub.fetch(MODEL)
    assert found.revision == repo.commit
    assert found.config == tiny.CONFIG
    assert found.stored is not None
    assert found.stored.total_bytes == 2 * tiny.PARAMETERS
    assert found.files["config.json"].git_oid == repo.entry("config.json")["oid"]
    assert found.files["model.safetensors"].sha256 == repo.entry("model.safetensors")["lfs"]["oid"]


def test_a_sharded_model_is_read_shard_by_shard(server: HubServer) -> None:
    server.add(MODEL, tiny.sharded_files())
    stored = hub.fetch(MODEL).stored
    assert stored is not None
    assert stored.total_bytes == 2 * tiny.PARAMETERS
    assert len(stored.files) == 2


def test_weights_are_never_downloaded(server: HubServer) -> None:
    hub.fetch(MODEL)
    weights = [(verb, headers) for verb, path, headers in server.requests if "model.safe" in path]
    ranges = {headers.get("range") or headers.get("Range") for verb, headers in weights}
    assert None not in ranges


def test_everything_is_read_at_one_commit(server: HubServer) -> None:
    server.repos[MODEL].revisions.add("v1")
    commit = hub.fetch(MODEL, "v1").revision
    assert server.paths()[0].endswith("/revision/v1")
    assert all(commit in path for path in server.paths()[1:])


def test_the_token_goes_to_the_hub_and_nowhere_else(server: HubServer) -> None:
    hub.fetch(MODEL)
    sent = {headers.get("authorization") for _, _, headers in server.requests}
    assert sent == {f"Bearer {TOKEN}"}


def test_a_repository_without_safetensors_is_read_by_its_config(server: HubServer) -> None:
    server.add(MODEL, {"config.json": tiny.config_bytes(), "pytorch_model.bin": b"x"})
    found = hub.fetch(MODEL)
    assert found.stored is None
    assert "by arithmetic" in found.notes[0]


Setup = Callable[[HubServer], Any]
INFO, TREE = f"/api/models/{MODEL}", "/tree/"
CONFIG, WEIGHTS = "resolve/.*/config.json", "resolve/.*/model.safetensors"
GATED = {"X-Error-Code": "GatedRepo"}
LEAK = json.dumps({"error": f"bad token {TOKEN}"}).encode()


@pytest.mark.parametrize(
    ("setup", "says"),
    [
        (lambda s: s.fail(INFO, status=401), "private, gated or not there.*hf auth login"),
        (lambda s: s.fail(INFO, status=401, body=LEAK), "private, gated"),
        (
            lambda s: s.fail(INFO, status=401, headers={"X-Error-Message": "Invalid credentials"}),
            "refuses the token",
        ),
        (lambda s: s.fail(INFO, status=403, body=LEAK), "access is refused"),
        (lambda s: s.fail(CONFIG, status=401, headers=GATED), "is gated: accept its terms"),
        (lambda s: s.fail(CONFIG, status=403, headers=GATED), "is gated: accept its terms"),
        (lambda s: s.fail(WEIGHTS, status=403, headers=GATED), "is gated: accept its terms"),
        (lambda s: s.repos.clear(), "not found: .* has no such model"),
        (lambda s: s.fail(INFO, status=404), "not found"),
        (lambda s: s.fail(INFO, status=429, headers={"Retry-After": "0"}), "limits the rate"),
        (
            lambda s: s.fail(INFO, status=429, headers={"Retry-After": "3600"}),
            "try again in 3600 s",
        ),
        (
            lambda s: s.fail(TREE, status=429, headers={"ratelimit": '"api";r=0;t=300'}),
            "try again in 300 s",
        ),
        (lambda s: s.fail(CONFIG, status=429, headers={"Retry-After": "900"}), "in 900 s"),
        (lambda s: s.fail(INFO, status=500, body=LEAK), "broken right now: it answered 500"),
        (lambda s: s.fail(TREE, status=502), "answered 502 when asked for its list of files"),
        (lambda s: s.fail(CONFIG, status=503), "answered 503 when asked for its config.json"),
        (lambda s: s.fail(WEIGHTS, status=500), "answered 500 when asked for the header of"),
        (lambda s: s.fail(INFO, status=418), "answered 418"),
        (lambda s: s.fail(INFO, body=b"<html>login</html>"), "not JSON"),
        (lambda s: s.fail(f"{INFO}$", body=b"[1]"), "form that can't be read"),
        (lambda s: s.fail(TREE, body=b'{"a": 1}'), "form that can't be read"),
        (lambda s: s.add(MODEL, {"config.json": b"{nope"}), "config.json is not JSON"),
        (lambda s: s.add(MODEL, {"config.json": b"[]"}), "not a JSON object"),
        (lambda s: s.add(MODEL, {"README.md": b""}), "has no config.json"),
        (lambda s: s.add(MODEL, {"m.gguf": b""}), "only GGUF files; download 'm.gguf'"),
        (lambda s: s.fail(INFO, delay_seconds=5), "too slow: its description"),
        (lambda s: s.fail(TREE, delay_seconds=5), "too slow: its list of files"),
        (lambda s: s.fail(CONFIG, delay_seconds=5), "too slow: its config.json"),
        (lambda s: s.fail(INFO, trickle_seconds=0.1), "too slow: its description"),
        (lambda s: s.fail(INFO, cut_at=20), "broke off while sending its description"),
        (lambda s: s.fail(WEIGHTS, cut_at=30), "broke off while sending the header"),
        (lambda s: s.fail(INFO, drop=True), "broke off"),
        (lambda s: s.fail(CONFIG, drop=True), "broke off while sending its config.json"),
        (
            lambda s: s.fail(INFO, status=307, headers={"Location": INFO}),
            "redirects in a circle",
        ),
        (lambda s: s.repos[MODEL].wrong_hash.add("config.json"), "does not match the hash"),
        (lambda s: s.fail(CONFIG, status=200, body=b"{}"), "does not answer like a hub"),
    ],
)
def test_each_misbehaviour_is_one_plain_sentence(
    server: HubServer, setup: Setup, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import re

    setup(server)
    message = failure()
    assert re.search(says, message), message
    assert TOKEN not in "".join(capfd.readouterr())


def test_a_download_that_breaks_off_each_time_is_given_up(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubcall, "DEADLINE_TIMEOUTS", 20)
    server.fail(CONFIG, cut_at=5, method="GET")
    assert "broke off while sending its config.json" in failure()


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (struct.pack("<Q", 1 << 40) + b"{}", "not a safetensors header, or cut off"),
        (struct.pack("<Q", 2) + b"no", "not a safetensors header"),
        (b"abc", "not a safetensors header"),
        (struct.pack("<Q", 9) + b'{"a": {}}', "not a safetensors header"),
        (safetensors(tiny.tensors(), data=False), "does not match its size"),
    ],
)
def test_broken_weight_files_are_told_by_their_header(
    server: HubServer, header: bytes, says: str
) -> None:
    server.add(MODEL, {"config.json": tiny.config_bytes(), "model.safetensors": header})
    assert says in failure()


def test_an_index_that_names_a_file_that_is_not_there(server: HubServer) -> None:
    content = tiny.sharded_files()
    del content["model-00002-of-00002.safetensors"]
    server.add(MODEL, content)
    assert "names a file that is not there: 'model-00002" in failure()


def test_a_server_that_ignores_ranges_is_stopped_at_once(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubcall, "MAX_ANSWER_BYTES", 1000)
    server.fail(WEIGHTS, status=200, body=b"\0" * 100_000)
    assert "ignores ranged reads" in failure()


def test_a_missing_revision_is_named(server: HubServer) -> None:
    assert "the hub has no revision 'v9' of it" in failure(MODEL, "v9").replace(f"{MODEL}@v9", "")


def test_a_renamed_model_says_its_new_name(server: HubServer) -> None:
    server.add("acme/new", tiny.files())
    server.fail(INFO, status=307, headers={"Location": "/api/models/acme/new"})
    assert "now calls it 'acme/new'" in failure()


def test_trouble_that_passes_is_waited_out(server: HubServer) -> None:
    server.fail(INFO, status=429, headers={"Retry-After": "0"}, times=1)
    server.fail(TREE, status=503, times=1)
    server.fail(CONFIG, status=500, times=1)
    server.fail(WEIGHTS, drop=True, times=1)
    assert hub.fetch(MODEL).stored is not None


def test_retry_after_is_honoured(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    # Its own name only: threads that other tests left behind sleep too.
    monkeypatch.setattr(hubcall, "time", SimpleNamespace(sleep=waits.append))
    server.fail(INFO, status=429, headers={"Retry-After": "7"}, times=2)
    hub.fetch(MODEL)
    assert waits == [7.0, 7.0]


def test_a_hub_without_a_tree_is_read_by_its_description(server: HubServer) -> None:
    server.fail(TREE, status=404)
    assert hub.fetch(MODEL).revision == server.repos[MODEL].commit


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("http://127.0.0.1:9", "can't reach http://127.0.0.1:9"),
        ("http://no.such.host.invalid", "can't reach"),
        ("nonsense", "check that HF_ENDPOINT is a URL"),
        ("http://user:secretword@127.0.0.1:9", "can't reach http://127.0.0.1:9"),
    ],
)
def test_no_hub_there(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, endpoint: str, says: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    message = failure()
    assert says in message
    assert "secretword" not in message


def test_offline_mode_is_named(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in failure()
    assert server.requests == []


def test_a_token_that_no_header_can_hold_is_not_shown(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\x01é")
    assert "HF_TOKEN one plain word" in failure()


@pytest.mark.parametrize(
    "reference", ["", "a/b/c", "../x", "a b", "a/b@", "a/b@../x", "-x/y", "x" * 120, "a/b.json"]
)
def test_what_is_no_id_is_refused_before_asking(reference: str) -> None:
    with pytest.raises(InputProblems, match="not a model id"):
        hub.split_reference(reference)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("acme/tiny", ("acme/tiny", None)),
        ("gpt2", ("gpt2", None)),
        ("acme/tiny@refs/pr/3", ("acme/tiny", "refs/pr/3")),
        ("acme/tiny@v1.0", ("acme/tiny", "v1.0")),
    ],
)
def test_an_id_may_carry_a_revision(reference: str, parts: tuple[str, str | None]) -> None:
    assert hub.split_reference(reference) == parts
