"""A hub to test against: a real HTTP server with the hub's endpoints and its ways of failing.

    with HubServer() as hub:
        hub.add("acme/tiny", {"config.json": b"...", "model.safetensors": b"..."})
        hub.fail("/api/models/acme/tiny", status=429, headers={"Retry-After": "1"}, times=1)

It speaks `/api/models/ID[/revision/REV]`, `/api/models/ID/tree/REV`, and `/ID/resolve/REV/FILE`
with HEAD, GET and ranges, and answers with the headers that huggingface_hub's client reads.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_ENDINGS = (".safetensors", ".gguf", ".bin")
DTYPE_BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "U8": 1, "I32": 4}


def safetensors(tensors: Mapping[str, tuple[str, tuple[int, ...]]], *, data: bool = True) -> bytes:
    """A safetensors file of zeros with these dtypes and shapes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        size = DTYPE_BYTES[dtype]
        for n in shape:
            size *= n
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + (b"\0" * offset if data else b"")


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    files: dict[str, bytes]
    commit: str
    revisions: set[str] = field(default_factory=lambda: {"main"})
    wrong_hash: set[str] = field(default_factory=set)

    def entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        seen = content + b"changed" if name in self.wrong_hash else content
        entry: dict[str, Any] = {
            "type": "file",
            "oid": git_blob(seen),
            "size": len(content),
            "path": name,
        }
        if name.endswith(LFS_ENDINGS):
            sha = hashlib.sha256(seen).hexdigest()
            entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 134}
        return entry


@dataclass
class Trouble:
    """What happens instead of the right answer to paths that match, `times` times."""

    pattern: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_seconds: float = 0.0
    trickle_seconds: float = 0.0
    cut_at: int | None = None
    drop: bool = False
    method: str = ""
    times: int = 1_000_000


class _Server(ThreadingHTTPServer):
    """A server that does not speak of clients that hang up: that is what they are tested for."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class HubServer:
    """Runs on a free port of this machine while the `with` block lasts."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.troubles: list[Trouble] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, model: str, files: Mapping[str, bytes], commit: str = "") -> Repo:
        digest = hashlib.sha1(model.encode() + b"".join(files.values())).hexdigest()
        repo = Repo(dict(files), commit or digest)
        self.repos[model] = repo
        return repo

    def fail(self, pattern: str, **trouble: Any) -> None:
        self.troubles.append(Trouble(pattern, **trouble))

    def paths(self, method: str = "") -> list[str]:
        return [path for verb, path, _ in self.requests if method in ("", verb)]


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._handle(with_body=False)

    def do_GET(self) -> None:
        self._handle(with_body=True)

    def _handle(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, dict(self.headers.items())))
        try:
            if not self._trouble(path, with_body):
                self._answer(path, with_body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _trouble(self, path: str, with_body: bool) -> bool:
        for trouble in self.hub.troubles:
            wanted = trouble.method in ("", self.command)
            if trouble.times > 0 and wanted and re.search(trouble.pattern, path):
                trouble.times -= 1
                return self._make_trouble(trouble, path, with_body)
        return False

    def _make_trouble(self, trouble: Trouble, path: str, with_body: bool) -> bool:
        if trouble.delay_seconds:
            self.hub.stopped.wait(trouble.delay_seconds)
        if trouble.drop:
            self.close_connection = True
            return True
        if trouble.cut_at is not None:
            self._answer(path, with_body, cut_at=trouble.cut_at)
            return True
        if trouble.trickle_seconds:
            self._trickle(trouble.trickle_seconds)
            return True
        if trouble.status:
            self._send(trouble.status, trouble.body, trouble.headers, with_body=with_body)
            return True
        if trouble.body:
            self._send(200, trouble.body, trouble.headers, with_body=with_body)
            return True
        return False

    def _trickle(self, pause_seconds: float) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.close_connection = True
        end = time.monotonic() + 60
        while time.monotonic() < end and not self.hub.stopped.wait(pause_seconds):
            self.wfile.write(b" ")
            self.wfile.flush()

    def _send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        *,
        with_body: bool = True,
        cut_at: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body[:cut_at])
        if cut_at is not None:
            self.close_connection = True

    def _json(self, status: int, value: Any, with_body: bool, cut_at: int | None = None) -> None:
        headers = {"Content-Type": "application/json"}
        body = json.dumps(value).encode()
        self._send(status, body, headers, with_body=with_body, cut_at=cut_at)

    def _refuse(self, code: str, with_body: bool) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": "not here"}
        self._send(404, b'{"error": "not here"}', headers, with_body=with_body)

    def _answer(self, path: str, with_body: bool, cut_at: int | None = None) -> None:
        described = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        tree = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        match = tree or described or file
        repo = self.hub.repos.get(match[1]) if match else None
        if match is None or repo is None:
            self._refuse("RepoNotFound", with_body)
        elif match[2] is not None and match[2] not in {*repo.revisions, repo.commit}:
            self._refuse("RevisionNotFound", with_body)
        elif tree:
            self._json(200, [repo.entry(name) for name in repo.files], with_body, cut_at)
        elif file:
            self._file(repo, match[3], with_body, cut_at)
        else:
            siblings = [{"rfilename": name} for name in repo.files]
            value = {"id": match[1], "sha": repo.commit, "siblings": siblings, "tags": []}
            self._json(200, value, with_body, cut_at)

    def _file(self, repo: Repo, name: str, with_body: bool, cut_at: int | None) -> None:
        content = repo.files.get(name)
        if content is None:
            self._refuse("EntryNotFound", with_body)
            return
        entry = repo.entry(name)
        etag = entry.get("lfs", entry)["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._send(200, content, headers, with_body=with_body, cut_at=cut_at)
            return
        begin = int(asked[1])
        end = min(int(asked[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
        part = content[begin : end + 1]
        self._send(206, part, headers, with_body=with_body, cut_at=cut_at)
