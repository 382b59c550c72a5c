"""One call to the hub: a deadline, few retries, and one plain sentence for whatever goes wrong."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from planner.errors import OutsideFailure

T = TypeVar("T")
ATTEMPTS: Final = 3
TIMEOUT_ATTEMPTS: Final = 2
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 20.0
DEADLINE_TIMEOUTS: Final = 3
"""One call may take this many read timeouts in all, however slowly the bytes trickle."""
MAX_ANSWER_BYTES: Final = 128_000_000
MAX_SAME_ANSWERS: Final = 2
"""The client resumes a broken download for ever; a URL that is asked this often is broken."""
BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_RATE_LIMIT = re.compile(r"\br\s*=\s*0\b.*?\bt\s*=\s*(\d+)")


class HubFailure(OutsideFailure):
    """The hub did not give what was asked; `status` is its HTTP answer, 0 where there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class _Busy(Exception):
    """The hub asks to come back later."""

    def __init__(self, status: int, wait_seconds: float | None) -> None:
        self.status, self.wait_seconds = status, wait_seconds
        super().__init__(str(status))


class _TooLarge(Exception):
    """An answer far larger than what was asked for."""


class _BrokenOff(Exception):
    """The same file breaks off time and again."""


class _OutOfTime(Exception):
    """A call did not end within its deadline."""


_answers = threading.local()
_session_lock = threading.Lock()


class Caller:
    """Calls about one model. Attribute `api` is huggingface_hub's own client."""

    def __init__(self, model: str, revision: str | None) -> None:
        self.model, self.revision = model, revision

    @cached_property
    def endpoint(self) -> str:
        """The hub's address, as huggingface_hub takes it."""
        from huggingface_hub import constants

        return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")

    @cached_property
    def shown_endpoint(self) -> str:
        """The same without a user name or password in it."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @cached_property
    def api(self) -> Any:
        """The client, made quiet: its log lines repeat what servers say."""
        from huggingface_hub import HfApi, utils
        from huggingface_hub.utils import logging as hub_logging

        hub_logging.set_verbosity(logging.CRITICAL)
        utils.disable_progress_bars()  # type: ignore[attr-defined]
        return HfApi(endpoint=self.endpoint, library_name="planner")

    @cached_property
    def timeout_seconds(self) -> float:
        """How long to wait for an answer (HF_HUB_DOWNLOAD_TIMEOUT)."""
        from huggingface_hub import constants

        return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)

    def failure(self, message: str, status: int = 0) -> HubFailure:
        """A failure about this model."""
        at = f"@{self.revision}" if self.revision else ""
        return HubFailure(f"{self.model}{at}: {message}", status)

    def call(self, what: str, ask: Callable[[], T]) -> T:
        """Run one call of the client; retry what may pass, turn the rest into a HubFailure."""
        wait_seconds = FIRST_WAIT_SECONDS
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._within_deadline(ask)
            except HubFailure:
                raise
            except Exception as error:
                asked = self._retry_wait(error, attempt)
                if asked is None:
                    raise self._explain(error, what) from None
                time.sleep(max(asked, wait_seconds))
                wait_seconds *= 2

    def _within_deadline(self, ask: Callable[[], T]) -> T:
        """Run it in a thread that is left behind when time is up: a trickle never times out."""
        self._prepare_session()
        outcome: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            _answers.by_url = {}
            try:
                outcome.append(ask())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(DEADLINE_TIMEOUTS * self.timeout_seconds)
        if errors:
            raise errors[0]
        if not outcome:
            raise _OutOfTime
        return outcome[0]

    def _prepare_session(self) -> None:
        from huggingface_hub import get_session

        with _session_lock:
            session: Any = get_session()
            hooks = session.event_hooks
            if _look_at_answer not in hooks["response"]:
                session.event_hooks = {
                    "request": [*hooks["request"], _bound_wait],
                    "response": [*hooks["response"], _look_at_answer],
                }

    def _retry_wait(self, error: Exception, attempt: int) -> float | None:
        """Seconds the hub wants us to wait at least before the next attempt; None to give up."""
        kinds = _names(error)
        final = {"OfflineModeIsEnabled", "_OutOfTime", "_BrokenOff"}
        if attempt >= ATTEMPTS or final & kinds:
            return None
        if isinstance(error, _Busy):
            asked = error.wait_seconds or 0.0
            return asked if asked <= LONGEST_WAIT_SECONDS else None
        if "TimeoutException" in kinds:
            return 0.0 if attempt < TIMEOUT_ATTEMPTS else None
        return 0.0 if {"NetworkError", "RemoteProtocolError"} & kinds else None

    def _explain(self, error: Exception, what: str) -> HubFailure:
        """One sentence and the way on; never the server's own words, which may repeat secrets."""
        hub, kinds = self.shown_endpoint, _names(error)
        answer = _response(error)
        if isinstance(error, _Busy):
            return self.failure(_busy_words(error, what, hub), error.status)
        if answer is not None:
            return self._explain_status(answer, what)
        if "OfflineModeIsEnabled" in kinds:
            return self.failure("HF_HUB_OFFLINE is set, so the hub can't be asked; unset it")
        if isinstance(error, _OutOfTime) or "TimeoutException" in kinds:
            return self.failure(
                f"{hub} is too slow: {what} did not arrive in time; try again, or raise"
                f" HF_HUB_DOWNLOAD_TIMEOUT ({self.timeout_seconds:g} s)"
            )
        for names, words in _BY_KIND:
            if names & kinds:
                return self.failure(words.format(hub=hub, what=what))
        return self.failure(
            f"{hub} gave {what} in a form that can't be read ({type(error).__name__})"
        )

    def _explain_status(self, answer: Any, what: str) -> HubFailure:
        status = int(answer.status_code)
        code = str(answer.headers.get("X-Error-Code") or "")
        said = str(answer.headers.get("X-Error-Message") or "").casefold()
        page = f"{self.shown_endpoint}/{self.model}"
        login = "log in with `hf auth login` or set HF_TOKEN"
        if code == "GatedRepo" or (status == 403 and "gated" in said):
            words = f"is gated: accept its terms at {page}, then {login}"
        elif code == "RevisionNotFound":
            words = f"the hub has no revision '{self.revision or 'main'}' of it"
        elif code == "EntryNotFound":
            words = f"the hub does not have {what}"
        elif status == 401 and ("invalid" in said or "expired" in said):
            words = f"{self.shown_endpoint} refuses the token; {login} again"
        elif "disabled" in said:
            words = "the hub has disabled it"
        elif status == 401:
            words = (
                "is private, gated or not there (without a valid login the hub does not say"
                f" which); check the id at {page}, then {login}"
            )
        elif status == 403:
            words = (
                f"access is refused: ask for it at {page} (gated or private), and check what the"
                " token may read"
            )
        elif status == 404 and code in ("", "RepoNotFound"):
            revision = f" or no revision '{self.revision}' of it" if self.revision else ""
            words = f"not found: {self.shown_endpoint} has no such model{revision}; check the id"
        else:
            words = f"{self.shown_endpoint} answered {status} when asked for {what}"
        return self.failure(words, status)


_BY_KIND: Final = (
    (
        {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError", "UnicodeEncodeError"},
        "the request can't be sent; check that HF_ENDPOINT is a URL and HF_TOKEN one plain word",
    ),
    ({"TooManyRedirects"}, "{hub} redirects in a circle when asked for {what}"),
    ({"_TooLarge"}, "{hub} sends far more than asked for {what}: it ignores ranged reads"),
    ({"ProxyError"}, "the proxy does not let requests through to {hub}"),
    (
        {"_BrokenOff", "RemoteProtocolError", "ReadError", "WriteError", "DecodingError"},
        "{hub} broke off while sending {what}; try again",
    ),
    (
        {"ConnectError", "NetworkError", "TransportError"},
        "can't reach {hub}: offline, or its name or certificate is wrong",
    ),
    ({"FileMetadataError"}, "{hub} does not answer like a hub when asked for {what}"),
    ({"SafetensorsParsingError"}, "{what} is broken: not a safetensors header, or cut off"),
    ({"JSONDecodeError"}, "{hub} answered with something that is not JSON when asked for {what}"),
    ({"EntryNotFoundError"}, "the hub does not have {what}"),
    ({"OSError"}, "{what} did not arrive whole or could not be put down; try again"),
)


def _busy_words(error: _Busy, what: str, hub: str) -> str:
    if error.status == 429:
        later = f"in {error.wait_seconds:.0f} s" if error.wait_seconds else "later"
        return f"{hub} limits the rate of requests (429); try again {later}, logged in if possible"
    return f"{hub} is broken right now: it answered {error.status} when asked for {what}; try later"


def _bound_wait(request: Any) -> None:
    """A read timeout for calls of the client that have none."""
    from huggingface_hub import constants

    limits = request.extensions.get("timeout") or {}
    seconds = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    request.extensions["timeout"] = {
        step: min(limits.get(step) or seconds, seconds)
        for step in ("connect", "read", "write", "pool")
    }


def _look_at_answer(response: Any) -> None:
    """Stop at answers that the client would wait on without limit, and at ones without bound."""
    if response.status_code in BUSY:
        raise _Busy(response.status_code, _asked_wait(response.headers))
    if response.request.method != "GET":
        return
    by_url: dict[str, int] = getattr(_answers, "by_url", {})
    url = str(response.request.url)
    by_url[url] = by_url.get(url, 0) + 1
    if by_url[url] > MAX_SAME_ANSWERS and not response.is_redirect:
        raise _BrokenOff
    length = str(response.headers.get("content-length") or "")
    if length.isdigit() and int(length) > MAX_ANSWER_BYTES:
        raise _TooLarge


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    after = str(headers.get("retry-after") or "").strip()
    if after.isdigit():
        return float(after)
    limited = _RATE_LIMIT.search(str(headers.get("ratelimit") or ""))
    if limited:
        return float(limited[1])
    try:
        return max(0.0, (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _names(error: BaseException) -> set[str]:
    """Names of the classes of an error and of its causes (httpx changes its module's name)."""
    return {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}


def _response(error: BaseException) -> Any:
    for link in _chain(error):
        answer = getattr(link, "response", None)
        if answer is not None and hasattr(answer, "status_code"):
            return answer
    return None
