"""Every request that the service accepts, one method each: returns a typed answer or raises one of our errors."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from reelq import errors
from reelq.nemo import safe_text, stream, wire
from reelq.nemo.safe_text import message_of
from reelq.nemo.transfer import Downloaded, ProgressCallback, download, multipart_parts
from reelq.nemo.transport import (
    NOT_SENT,
    READ_SECONDS,
    Bearer,
    Http,
    TokenSource,
    exchange,
    not_sent,
    read_body,
    secret_of,
    translated_errors,
)
from reelq.nemo.types import Balance, Grant, Json, Progress, Session, State
from reelq.nemo.wire import Area

T = TypeVar("T")


def request_token(http: httpx.Client, client_id: str, attribution: Mapping[str, str]) -> Grant:
    """Request a free starter token: the only request without a bearer token."""
    with translated_errors():
        headers = {**attribution, "X-Client-Id": client_id}
        response = exchange(http, http.build_request("POST", "/api/auth/anonymous-token", headers=headers))
    # A success that can't be parsed may hold a token under any name, so the error does not keep its text.
    return wire.read_grant(wire.unwrap(response.status_code, response.content, Area.TOKEN))


class Remote:
    """The service for one account, with one skill's headers. It is cheap to make: all share one HTTP client."""

    def __init__(self, http: Http, tokens: TokenSource, attribution: Mapping[str, str]) -> None:
        self._http = http
        self._bearer = Bearer(tokens)
        self._headers = dict(attribution)

    def open_session(self, language: str = "en") -> Session:
        """Open a new, empty session."""
        body = {"task_name": "project", "language": language}
        return self._call("POST", "/api/tasks/me/with-session/nemo_agent", Area.ACCOUNT, wire.read_session, json=body)

    def upload(
        self,
        session_id: str,
        paths: Sequence[Path],
        on_progress: ProgressCallback = lambda _: None,
        *,
        names: Sequence[str] = (),
    ) -> None:
        """Upload files into the session, streamed from disk; `names` replace the files' own names."""
        with ExitStack() as open_files:
            self._upload(session_id, files=multipart_parts(paths, on_progress, open_files, names))

    def upload_urls(self, session_id: str, urls: Sequence[str]) -> None:
        """Have the service fetch files into the session."""
        self._upload(session_id, json={"urls": list(urls), "source_type": "url"})

    def _upload(self, session_id: str, **content: Any) -> None:
        path, seconds = f"/api/upload-video/nemo_agent/me/{quote(session_id, safe='')}", self._http.limits.fetch_seconds
        self._call("POST", path, Area.SESSION, wire.check_uploaded, read_seconds=seconds, **content)

    def send(
        self,
        session_id: str,
        text: str,
        patience: stream.Patience,
        *,
        tell: Callable[[stream.Event], None] = lambda _: None,
        alive: Callable[[], None] = lambda: None,
    ) -> stream.AgentReply:
        """Send an instruction to the agent and read its stream to the end. Call this once per decision to send.

        After `StreamLost`, it is unknown whether the instruction took effect; any other error proves that it did not.
        """
        headers = self._headers | {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        request = self._http.build_request(
            "POST",
            self._http.url_of("/run_sse"),
            content=safe_text.dump(wire.write_message(session_id, text)),
            headers=headers | {"Content-Type": "application/json"},
            timeout=self._http.timeout_of(min(patience.silence, patience.life)),
        )
        response = self._open_stream(request)
        try:
            kind = response.headers.get("content-type", "").lower()
            if not response.is_success or not kind.startswith("text/event-stream"):
                raise _error_instead_of_stream(response)
            events = stream.read_events(response, patience, alive=alive, secret=secret_of(response))
            return stream.AgentReply.of(events, tell)
        finally:
            response.close()

    def _open_stream(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the response once its headers arrive.

        If this fails after the request may have gone out, the outcome is unknown: `StreamNeverBegan`.
        """
        try:
            return self._http.lasting.send(request, auth=self._bearer, stream=True)
        except NOT_SENT as error:
            raise not_sent(error) from None
        except httpx.HTTPError as error:
            raise errors.StreamNeverBegan(f"The instruction got no answer: {message_of(error)}") from None

    def state(self, session_id: str) -> State:
        """The session's current state."""
        path = f"/api/state/nemo_agent/me/{quote(session_id, safe='')}/latest"
        return self._call("GET", path, Area.SESSION, wire.read_state)

    def balance(self) -> Balance:
        """The account's credits."""
        return self._call("GET", "/api/credits/balance/simple", Area.ACCOUNT, wire.read_balance)

    def render(self, render_id: str, session_id: str, draft: Json) -> None:
        """Request an export under an id that we choose; `RenderDuplicate` means that it exists already."""
        body = wire.write_render(render_id, session_id, draft)
        self._call("POST", "/api/render/proxy/lambda", Area.RENDER, wire.read_accepted, json=body)

    def progress(self, render_id: str) -> Progress:
        """Poll an export once."""
        return self._call("GET", _render_path(render_id), Area.RENDER, wire.read_progress)

    def cancel_render(self, render_id: str) -> None:
        """Cancel an export."""
        self._call("POST", f"{_render_path(render_id)}/cancel", Area.RENDER, wire.read_accepted)

    def download(
        self, url: str, render_id: str, part: Path, on_progress: ProgressCallback = lambda _: None
    ) -> Downloaded:
        """Download an export into `part`, resuming at its end; if `url` fails, through the service's own endpoint.

        `url` may name any host and needs no token, so it gets none.
        """
        fallback = self._http.url_of(f"/api/render/proxy/{quote(render_id, safe='')}/download")
        url_error: errors.RemoteError | None = None
        if url:
            try:
                return self._fetch(url, part, on_progress, None, {})
            except errors.RemoteError as error:
                url_error = error  # the service's own endpoint may still have the file
        try:
            return self._fetch(fallback, part, on_progress, self._bearer, self._headers)
        except (errors.ResultMissing, errors.Rejected):
            # Not every service has the second endpoint: its refusal does not prove that the file is gone from `url`.
            if isinstance(url_error, errors.PassingFault):
                raise url_error from None
            raise

    def _fetch(
        self, url: str, part: Path, on_progress: ProgressCallback, auth: httpx.Auth | None, headers: Mapping[str, str]
    ) -> Downloaded:
        http = self._http.lasting
        with translated_errors():
            return download(http, http.base_url.join(url), part, on_progress, auth=auth, headers=headers)

    def _call(
        self,
        method: str,
        path: str,
        where: Area,
        read: Callable[[Json], T],
        *,
        json: Any = None,
        files: Any = None,
        read_seconds: float = READ_SECONDS,
    ) -> T:
        content = None if json is None else safe_text.dump(json)
        headers = self._headers if content is None else self._headers | {"Content-Type": "application/json"}
        timeout = self._http.timeout_of(read_seconds)
        with translated_errors():
            request = self._http.build_request(
                method, self._http.url_of(path), content=content, files=files, headers=headers, timeout=timeout
            )
            if files is None:
                with self._http.quick_slots:
                    response = exchange(self._http, request, self._bearer)
            else:
                response = exchange(self._http.lasting, request, self._bearer)
        return wire.parse_answer(read, response.status_code, response.content, where, secret=secret_of(response))


def _error_instead_of_stream(response: httpx.Response) -> errors.RemoteError:
    """The error for a response that is not a stream: a refusal, or `StreamNeverBegan` if the outcome is unknown."""
    secret = secret_of(response)
    try:
        body = read_body(response)
        wire.unwrap(response.status_code, body, Area.SESSION, secret=secret)
    except errors.PassingFault as error:
        return errors.StreamNeverBegan(f"The answer is not a stream: {error}", raw=error.raw)
    except httpx.HTTPError as error:
        return errors.StreamNeverBegan(f"The answer is not a stream: {message_of(error)}")
    except errors.RemoteError as refusal:
        return refusal
    return errors.StreamNeverBegan(
        "The service answered with success, but without a stream", raw=safe_text.excerpt(body, secret)
    )


def _render_path(render_id: str) -> str:
    return f"/api/render/proxy/lambda/{quote(render_id, safe='')}"
