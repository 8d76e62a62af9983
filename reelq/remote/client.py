"""Everything the service can be asked, each as one method: a request out, a receipt or one of our errors back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import httpx

from reelq import errors
from reelq.remote import sse, wire
from reelq.remote.auth import Bearer, Tokens
from reelq.remote.download import Downloaded, fetch
from reelq.remote.receipts import Balance, Grant, Json, Progress, Session, State, Uploaded
from reelq.remote.redact import redact
from reelq.remote.wire import Where
from reelq.settings import Settings

_CONNECT_SECONDS: Final = 10
_POOL_SECONDS: Final = 30
_READ_SECONDS: Final = 60
_SPARE_CONNECTIONS: Final = 16
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

Meter = Callable[[int], None]
"""Told how many bytes have gone so far."""


def open_http(settings: Settings) -> httpx.Client:
    """The one HTTP client of a process: making one takes milliseconds and a TLS context."""
    most = settings.reelq_max_in_flight + _SPARE_CONNECTIONS
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=15)
    return httpx.Client(base_url=settings.nemo_api_url, timeout=_timeout(_READ_SECONDS), limits=limits)


def _timeout(read: float) -> httpx.Timeout:
    return httpx.Timeout(read, connect=_CONNECT_SECONDS, pool=_POOL_SECONDS)


@contextmanager
def _our_errors() -> Iterator[None]:
    """The transport's exceptions as ours; those that prove that nothing was sent are told apart."""
    try:
        yield
    except _NOT_SENT as error:
        raise errors.NotSent(f"No connection to the service: {redact(str(error)) or type(error).__name__}") from None
    except (httpx.InvalidURL, UnicodeError) as error:
        raise errors.NotSent(f"This is no address: {error}") from None
    except httpx.TimeoutException:
        raise errors.TimedOut from None
    except httpx.DecodingError as error:
        raise errors.Unintelligible(f"The answer can't be unpacked: {error}") from None
    except httpx.HTTPError as error:
        raise errors.ConnectionLost(f"The connection broke: {redact(str(error)) or type(error).__name__}") from None


def ask_for_token(http: httpx.Client, client_id: str, attribution: Mapping[str, str]) -> Grant:
    """A free starter token: the one request without a bearer."""
    with _our_errors():
        headers = {**attribution, "X-Client-Id": client_id}
        response = http.post("/api/auth/anonymous-token", headers=headers)
    return wire.read_grant(wire.unwrap(response.status_code, response.content, Where.TOKEN))


class Remote:
    """The service as one account with one skill's face sees it; cheap to make, all share one HTTP client."""

    def __init__(self, http: httpx.Client, tokens: Tokens, attribution: Mapping[str, str]) -> None:
        self._http = http
        self._bearer = Bearer(tokens)
        self._headers = dict(attribution)

    def open_session(self, language: str = "en") -> Session:
        """A new, empty session."""
        body = {"task_name": "project", "language": language}
        answer = self._ask("POST", "/api/tasks/me/with-session/nemo_agent", Where.ACCOUNT, json=body)
        return wire.read_session(answer)

    def upload(self, session_id: str, paths: Sequence[Path], meter: Meter = lambda _: None) -> Uploaded:
        """Files from this machine into the session, read from disk as they go."""
        with ExitStack() as open_files:
            gone = _Gone(meter)
            parts = [("files", (path.name, _open(path, open_files, gone))) for path in paths]
            return wire.read_uploaded(self._ask("POST", _upload(session_id), Where.SESSION, files=parts))

    def upload_urls(self, session_id: str, urls: Sequence[str]) -> Uploaded:
        """Files that the service fetches by itself."""
        body = {"urls": list(urls), "source_type": "url"}
        return wire.read_uploaded(self._ask("POST", _upload(session_id), Where.SESSION, json=body))

    def send(
        self,
        session_id: str,
        text: str,
        patience: sse.Patience,
        *,
        tell: Callable[[sse.Event], None] = lambda _: None,
        alive: Callable[[], None] = lambda: None,
    ) -> sse.Heard:
        """Tell the agent, and listen to the end of its stream. To be called once per decision to send.

        `StreamLost` leaves in doubt whether it took effect; any other error proves that it did not.
        """
        headers = self._headers | {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        request = self._http.build_request(
            "POST",
            "/run_sse",
            content=wire.dump(wire.write_message(session_id, text)),
            headers=headers | {"Content-Type": "application/json"},
            timeout=_timeout(patience.silence),
        )
        response = self._begin(request)
        try:
            if not _is_stream(response):
                raise _no_stream(response)
            return sse.Heard.of(_told(sse.listen(response, patience, alive=alive, secret=_secret(response)), tell))
        finally:
            response.close()

    def _begin(self, request: httpx.Request) -> httpx.Response:
        """The response once its head is there; what breaks after the request may have gone out is doubt."""
        try:
            return self._http.send(request, auth=self._bearer, stream=True)
        except _NOT_SENT as error:
            raise errors.NotSent(f"No connection to the service: {error}") from None
        except httpx.HTTPError as error:
            words = redact(str(error)) or type(error).__name__
            raise errors.StreamNeverBegan(f"No answer came to the instruction: {words}") from None

    def state(self, session_id: str) -> State:
        """The session as it stands."""
        path = f"/api/state/nemo_agent/me/{quote(session_id, safe='')}/latest"
        return wire.read_state(self._ask("GET", path, Where.SESSION))

    def balance(self) -> Balance:
        """The account's credits."""
        return wire.read_balance(self._ask("GET", "/api/credits/balance/simple", Where.ACCOUNT))

    def render(self, render_id: str, session_id: str, draft: Json) -> None:
        """Ask for an export under an id of ours; `RenderDuplicate` says that it is there already."""
        body = wire.write_render(render_id, session_id, draft)
        self._ask("POST", "/api/render/proxy/lambda", Where.RENDER, json=body)

    def progress(self, render_id: str) -> Progress:
        """One look at an export."""
        return wire.read_progress(
            self._ask("GET", f"/api/render/proxy/lambda/{quote(render_id, safe='')}", Where.RENDER)
        )

    def cancel_render(self, render_id: str) -> None:
        """Give an export up."""
        self._ask("POST", f"{_render(render_id)}/cancel", Where.RENDER)

    def download(self, url: str, render_id: str, part: Path, meter: Meter = lambda _: None) -> Downloaded:
        """An export's file into `part`, going on where it ends; where its address fails, through the service.

        The address names any host and needs no token, so it gets none.
        """
        fallback = f"/api/render/proxy/{quote(render_id, safe='')}/download"
        if url:
            try:
                return self._fetch(url, part, meter, auth=None, headers={})
            except errors.RemoteError:
                pass  # whatever is wrong with that address, the service's own may still have the file
        return self._fetch(fallback, part, meter, auth=self._bearer, headers=self._headers)

    def _fetch(
        self, url: str, part: Path, meter: Meter, *, auth: httpx.Auth | None, headers: Mapping[str, str]
    ) -> Downloaded:
        with _our_errors():
            return fetch(self._http, self._http.base_url.join(url), part, meter, auth=auth, headers=headers)

    def claim_link(self, session: Session, web_url: str) -> str:
        """A link that opens the session's project in a browser; empty where the service has none."""
        body = {"task_id": session.task_id, "session_id": session.session_id}
        try:
            claim = wire.read_claim(self._ask("POST", "/api/auth/claim-token", Where.ACCOUNT, json=body))
        except errors.Rejected as refusal:
            if refusal.remote_code == httpx.codes.NOT_FOUND:
                return ""
            raise
        return f"{web_url}/workspace/claim?ct={quote(claim, safe='')}"

    def _ask(self, method: str, path: str, where: Where, *, json: Any = None, files: Any = None) -> Json:
        content = None if json is None else wire.dump(json)
        headers = self._headers if content is None else self._headers | {"Content-Type": "application/json"}
        with _our_errors():
            request = self._http.build_request(method, path, content=content, files=files, headers=headers)
            response = self._http.send(request, auth=self._bearer)
        return wire.unwrap(response.status_code, response.content, where, secret=_secret(response))


def _no_stream(response: httpx.Response) -> errors.RemoteError:
    """What an answer other than a stream means: a refusal, or doubt where it is not the service's own word."""
    try:
        body = response.read()
        wire.unwrap(response.status_code, body, Where.SESSION, secret=_secret(response))
    except (errors.PassingFault, httpx.HTTPError) as error:
        raw = error.raw if isinstance(error, errors.RemoteError) else ""
        return errors.StreamNeverBegan(f"Instead of a stream: {error}", raw=raw)
    except errors.RemoteError as refusal:
        return refusal
    return errors.StreamNeverBegan(
        "Success, but no stream", raw=redact(body.decode("utf-8", "replace"), _secret(response))
    )


def _secret(response: httpx.Response) -> str:
    """The token that the request went out with, so that no echo of it is kept."""
    return str(response.request.headers.get("Authorization", "")).removeprefix("Bearer ")


def _upload(session_id: str) -> str:
    return f"/api/upload-video/nemo_agent/me/{quote(session_id, safe='')}"


def _render(render_id: str) -> str:
    return f"/api/render/proxy/lambda/{quote(render_id, safe='')}"


def _is_stream(response: httpx.Response) -> bool:
    kind = response.headers.get("content-type", "").lower()
    return response.is_success and kind.startswith("text/event-stream")


def _told(events: Iterator[sse.Event], tell: Callable[[sse.Event], None]) -> Iterator[sse.Event]:
    for event in events:
        tell(event)
        yield event


class _Gone:
    """Counts the bytes of all files of one upload."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._bytes = 0

    def more(self, count: int) -> None:
        self._bytes += count
        self._meter(self._bytes)

    def back(self, count: int) -> None:
        self._bytes -= count


class _Metered:
    """A file that tells how much of it was read; the transport rewinds it when a request is sent again."""

    def __init__(self, file: BinaryIO, gone: _Gone) -> None:
        self._file = file
        self._gone = gone

    def read(self, size: int = -1) -> bytes:
        if chunk := self._file.read(size):
            self._gone.more(len(chunk))
        return chunk

    def seek(self, offset: int, whence: int = 0) -> int:
        before = self._file.tell()
        after = self._file.seek(offset, whence)
        self._gone.back(before - after)
        return after

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()


def _open(path: Path, open_files: ExitStack, gone: _Gone) -> BinaryIO:
    try:
        file = open_files.enter_context(path.open("rb"))
    except OSError as error:
        raise errors.FileUnreadable(f"{path.name} can't be read: {error.strerror}") from None
    return _Metered(file, gone)  # type: ignore[return-value] # the transport uses only what it has
