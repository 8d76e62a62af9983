"""Everything the service can be asked, each as one method: a request out, a receipt or one of our errors back."""

import functools
import itertools
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx

from reelq import errors
from reelq.remote import jsontext, sse, wire
from reelq.remote.auth import Bearer, Tokens
from reelq.remote.body import read_whole
from reelq.remote.download import Downloaded, fetch
from reelq.remote.receipts import Balance, Grant, Json, Progress, Session, State, Uploaded
from reelq.remote.redact import redact, said
from reelq.remote.upload import Meter, parts
from reelq.remote.wire import Where
from reelq.settings import Settings

_CONNECT_SECONDS: Final = 10
_READ_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Limits:
    """How a process shares its connections, and how long it waits for them; times are in seconds."""

    pool_seconds: float = 30
    fetch_seconds: float = 300
    """An upload is answered when the service has taken the files in, which for URLs means that it has fetched them."""
    quick_at_once: int = 64
    """Of one process: a thousand rows ask in bursts, and a connection for each would cost more than to wait."""
    pools: int = 16
    """How many small pools replace each of httpx's large ones."""
    spare_connections: int = 16
    """Above what can be in flight: in a pool that is full, httpcore can close a connection under a request."""
    kept_seconds: float = 5
    """That an idle connection is kept: the first in the pool is taken first, so that as many stay as are needed."""


_NO_ADDRESS: Final = (httpx.InvalidURL, UnicodeError)
_NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    *_NO_ADDRESS,
)
"""What proves that nothing of a request reached the service."""

T = TypeVar("T")


class _Spread(httpx.BaseTransport):
    """Pools of connections that requests go to in turn."""

    def __init__(self, make: Callable[[], httpx.BaseTransport], pools: int) -> None:
        self._pools = [make() for _ in range(pools)]
        self._next = itertools.cycle(self._pools)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return next(self._next).handle_request(request)

    def close(self) -> None:
        for pool in self._pools:
            pool.close()


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """All accounts share a client: a cookie would carry one's session into the other's requests."""


class _Client(httpx.Client):
    """Like httpx's own, with many small pools in the place of each, and without cookies."""

    cookies = _NoCookies()  # type: ignore[override] # nobody sets them

    def __init__(self, pools: int, **told: Any) -> None:
        self._pools = pools
        super().__init__(**told)

    def _init_transport(self, *args: Any, **kwargs: Any) -> httpx.BaseTransport:
        return _Spread(functools.partial(super()._init_transport, *args, **kwargs), self._pools)

    def _init_proxy_transport(self, *args: Any, **kwargs: Any) -> httpx.BaseTransport:
        return _Spread(functools.partial(super()._init_proxy_transport, *args, **kwargs), self._pools)


class Http(_Client):
    """The HTTP clients of a process: for each request, a pool looks at all of its connections, and at the idle ones as
    many times as there are connections.

    So there are many pools, requests that are over in a moment share few connections, and those that last are kept
    apart.
    """

    def __init__(self, settings: Settings, limits: Limits, tls: ssl.SSLContext | None) -> None:
        """For this deployment's service; making one takes milliseconds, most of them for a TLS context."""
        self.limits = limits
        most = settings.reelq_max_in_flight + limits.spare_connections
        told: dict[str, Any] = {
            "base_url": settings.nemo_api_url,
            "timeout": self.timeout_of(_READ_SECONDS),
            "verify": tls or httpx.create_ssl_context(),
        }
        # A limit to idle ones would close some that another thread has just been given.
        quick = httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=limits.kept_seconds)
        super().__init__(limits.pools, limits=quick, **told)
        self.door = threading.Semaphore(limits.quick_at_once)
        """For requests that are over in a moment."""
        none = httpx.Limits(max_connections=most, max_keepalive_connections=0)
        self.lasting = _Client(limits.pools, limits=none, **told)
        """For streams and files."""
        self._service = str(self.base_url).rstrip("/")

    def at(self, path: str) -> str:
        """A path's whole address: httpx would parse it, and once more with the service's before it."""
        return self._service + path

    def timeout_of(self, read: float) -> httpx.Timeout:
        """For a request whose answer may be silent for so many seconds."""
        return httpx.Timeout(read, connect=_CONNECT_SECONDS, pool=self.limits.pool_seconds)

    def close(self) -> None:
        """Both."""
        super().close()
        self.lasting.close()

    def __exit__(self, *why: object) -> None:
        super().__exit__(*why)  # type: ignore[arg-type] # the three of every one
        self.lasting.close()


def open_http(settings: Settings, limits: Limits = Limits(), *, tls: ssl.SSLContext | None = None) -> Http:
    """The one of a process; without a TLS context it makes one that trusts what this machine trusts."""
    try:
        return Http(settings, limits, tls)
    except (httpx.InvalidURL, ImportError, OSError, ValueError) as error:  # an address, a proxy or a certificate file
        raise errors.SettingsError(f"No HTTP client can be made: {redact(str(error))}") from None


@contextmanager
def _our_errors() -> Iterator[None]:
    """The transport's exceptions as ours; those that prove that nothing was sent are told apart."""
    try:
        yield
    except _NOT_SENT as error:
        raise _not_sent(error) from None
    except httpx.TimeoutException:
        raise errors.TimedOut from None
    except httpx.DecodingError as error:
        raise errors.Unintelligible(f"The answer can't be unpacked: {error}") from None
    except httpx.HTTPError as error:
        raise errors.ConnectionLost(f"The connection broke: {said(error)}") from None


def _not_sent(error: Exception) -> errors.NotSent:
    what = "This is no address" if isinstance(error, _NO_ADDRESS) else "No connection to the service"
    return errors.NotSent(f"{what}: {said(error)}")


def ask_for_token(http: httpx.Client, client_id: str, attribution: Mapping[str, str]) -> Grant:
    """A free starter token: the one request without a bearer."""
    with _our_errors():
        headers = {**attribution, "X-Client-Id": client_id}
        response = _exchange(http, http.build_request("POST", "/api/auth/anonymous-token", headers=headers), None)
    # A success that can't be read may hold a token under any name: it is not kept for people to see.
    return wire.read_grant(wire.unwrap(response.status_code, response.content, Where.TOKEN))


def _exchange(http: httpx.Client, request: httpx.Request, auth: httpx.Auth | None) -> httpx.Response:
    """A request and its whole answer."""
    response = http.send(request, auth=auth, stream=True)
    try:
        read_whole(response)
    finally:
        response.close()
    return response


class Remote:
    """The service as one account with one skill's face sees it; cheap to make, all share one HTTP client."""

    def __init__(self, http: Http, tokens: Tokens, attribution: Mapping[str, str]) -> None:
        self._http = http
        self._bearer = Bearer(tokens)
        self._headers = dict(attribution)

    def open_session(self, language: str = "en") -> Session:
        """A new, empty session."""
        body = {"task_name": "project", "language": language}
        return self._ask("POST", "/api/tasks/me/with-session/nemo_agent", Where.ACCOUNT, wire.read_session, json=body)

    def upload(
        self, session_id: str, paths: Sequence[Path], meter: Meter = lambda _: None, *, names: Sequence[str] = ()
    ) -> Uploaded:
        """Files from this machine into the session, read from disk as they go; under these names, else their own."""
        with ExitStack() as open_files:
            return self._upload(session_id, files=parts(paths, meter, open_files, names))

    def upload_urls(self, session_id: str, urls: Sequence[str]) -> Uploaded:
        """Files that the service fetches by itself."""
        return self._upload(session_id, json={"urls": list(urls), "source_type": "url"})

    def _upload(self, session_id: str, **content: Any) -> Uploaded:
        path = f"/api/upload-video/nemo_agent/me/{quote(session_id, safe='')}"
        return self._ask(
            "POST", path, Where.SESSION, wire.read_uploaded, read_seconds=self._http.limits.fetch_seconds, **content
        )

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
            self._http.at("/run_sse"),
            content=jsontext.dump(wire.write_message(session_id, text)),
            headers=headers | {"Content-Type": "application/json"},
            timeout=self._http.timeout_of(min(patience.silence, patience.life)),
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
            return self._http.lasting.send(request, auth=self._bearer, stream=True)
        except _NOT_SENT as error:
            raise _not_sent(error) from None
        except httpx.HTTPError as error:
            raise errors.StreamNeverBegan(f"No answer came to the instruction: {said(error)}") from None

    def state(self, session_id: str) -> State:
        """The session as it stands."""
        path = f"/api/state/nemo_agent/me/{quote(session_id, safe='')}/latest"
        return self._ask("GET", path, Where.SESSION, wire.read_state)

    def balance(self) -> Balance:
        """The account's credits."""
        return self._ask("GET", "/api/credits/balance/simple", Where.ACCOUNT, wire.read_balance)

    def render(self, render_id: str, session_id: str, draft: Json) -> None:
        """Ask for an export under an id of ours; `RenderDuplicate` says that it is there already."""
        body = wire.write_render(render_id, session_id, draft)
        self._ask("POST", "/api/render/proxy/lambda", Where.RENDER, wire.read_accepted, json=body)

    def progress(self, render_id: str) -> Progress:
        """One look at an export."""
        return self._ask("GET", _render(render_id), Where.RENDER, wire.read_progress)

    def cancel_render(self, render_id: str) -> None:
        """Give an export up."""
        self._ask("POST", f"{_render(render_id)}/cancel", Where.RENDER, wire.read_accepted)

    def download(self, url: str, render_id: str, part: Path, meter: Meter = lambda _: None) -> Downloaded:
        """An export's file into `part`, going on where it ends; where its address fails, through the service.

        The address names any host and needs no token, so it gets none.
        """
        fallback = f"/api/render/proxy/{quote(render_id, safe='')}/download"
        first: errors.RemoteError | None = None
        if url:
            try:
                return self._fetch(url, part, meter, auth=None, headers={})
            except errors.RemoteError as error:
                first = error  # whatever is wrong with that address, the service's own may still have the file
        try:
            return self._fetch(fallback, part, meter, auth=self._bearer, headers=self._headers)
        except (errors.ResultMissing, errors.Rejected):
            # Not every service has the second address: it is no proof that the file is gone from the first.
            if isinstance(first, errors.PassingFault):
                raise first from None
            raise

    def _fetch(
        self, url: str, part: Path, meter: Meter, *, auth: httpx.Auth | None, headers: Mapping[str, str]
    ) -> Downloaded:
        with _our_errors():
            return fetch(self._http.lasting, self._http.base_url.join(url), part, meter, auth=auth, headers=headers)

    def claim_link(self, session: Session, web_url: str) -> str:
        """A link that opens the session's project in a browser; empty where the service has none."""
        body = {"task_id": session.task_id, "session_id": session.session_id}
        try:
            claim = self._ask("POST", "/api/auth/claim-token", Where.ACCOUNT, wire.read_claim, json=body)
        except errors.Rejected as refusal:
            if refusal.remote_code == httpx.codes.NOT_FOUND:
                return ""
            raise
        return f"{web_url}/workspace/claim?ct={quote(claim, safe='')}"

    def _ask(
        self,
        method: str,
        path: str,
        where: Where,
        read: Callable[[Json], T],
        *,
        json: Any = None,
        files: Any = None,
        read_seconds: float = _READ_SECONDS,
    ) -> T:
        content = None if json is None else jsontext.dump(json)
        headers = self._headers if content is None else self._headers | {"Content-Type": "application/json"}
        timeout = self._http.timeout_of(read_seconds)
        with _our_errors():
            request = self._http.build_request(
                method, self._http.at(path), content=content, files=files, headers=headers, timeout=timeout
            )
            if files is None:
                with self._http.door:
                    response = _exchange(self._http, request, self._bearer)
            else:
                response = _exchange(self._http.lasting, request, self._bearer)
        return wire.understand(read, response.status_code, response.content, where, secret=_secret(response))


def _no_stream(response: httpx.Response) -> errors.RemoteError:
    """What an answer other than a stream means: a refusal, or doubt where it is not the service's own word."""
    secret = _secret(response)
    try:
        body = read_whole(response)
        wire.unwrap(response.status_code, body, Where.SESSION, secret=secret)
    except errors.PassingFault as error:
        return errors.StreamNeverBegan(f"Instead of a stream: {error}", raw=error.raw)
    except httpx.HTTPError as error:
        return errors.StreamNeverBegan(f"Instead of a stream: {said(error)}")
    except errors.RemoteError as refusal:
        return refusal
    return errors.StreamNeverBegan("Success, but no stream", raw=jsontext.shown(body, secret))


def _secret(response: httpx.Response) -> str:
    """The token that the request went out with, so that no echo of it is kept."""
    return str(response.request.headers.get("Authorization", "")).removeprefix("Bearer ")


def _render(render_id: str) -> str:
    return f"/api/render/proxy/lambda/{quote(render_id, safe='')}"


def _is_stream(response: httpx.Response) -> bool:
    kind = response.headers.get("content-type", "").lower()
    return response.is_success and kind.startswith("text/event-stream")


def _told(events: Iterator[sse.Event], tell: Callable[[sse.Event], None]) -> Iterator[sse.Event]:
    for event in events:
        tell(event)
        yield event
