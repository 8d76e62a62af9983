"""HTTP to the service: connections, timeouts, the bearer token, and network failures as our errors."""

import functools
import itertools
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpx

from reelq import errors
from reelq.nemo import safe_text, wire
from reelq.nemo.identity import Token
from reelq.nemo.safe_text import message_of, redact
from reelq.settings import Settings

_CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 60
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""The largest response, in bytes; the largest real one, a session's state, stays far below."""
MAX_BODY_SECONDS: Final = 300.0
"""The longest time from a response's first byte to its last, in seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How a process shares its connections, and how long it waits for them; times are in seconds."""

    pool_seconds: float = 30
    fetch_seconds: float = 300
    """For an upload, which is answered once the service has the files: for URLs, once it has fetched them."""
    quick_at_once: int = 64
    """Quick requests in flight per process. A thousand rows ask in bursts, and a connection for each would cost more
    than waiting."""
    pools: int = 16
    """How many small pools replace each of httpx's large ones."""
    spare_connections: int = 16
    """Connections above what can be in flight: if a pool is full, httpcore can close a connection under a request."""
    kept_seconds: float = 5
    """How long an idle connection is kept. A pool reuses the first idle one, so only as many stay open as are
    needed."""


_INVALID_ADDRESS: Final = (httpx.InvalidURL, UnicodeError)
NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    *_INVALID_ADDRESS,
)
"""Exceptions which prove that nothing of a request reached the service."""


class _RoundRobin(httpx.BaseTransport):
    """Sends each request through the next of several connection pools."""

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
        """Ignore cookies: all accounts share a client, and one's session would leak into another's requests."""


class _Client(httpx.Client):
    """httpx's client with many small pools in place of each large one, and without cookies."""

    cookies = _NoCookies()  # type: ignore[override] # nobody sets them

    def __init__(self, pools: int, **options: Any) -> None:
        self._pools = pools
        super().__init__(**options)

    def _init_transport(self, *args: Any, **kwargs: Any) -> httpx.BaseTransport:
        return _RoundRobin(functools.partial(super()._init_transport, *args, **kwargs), self._pools)

    def _init_proxy_transport(self, *args: Any, **kwargs: Any) -> httpx.BaseTransport:
        return _RoundRobin(functools.partial(super()._init_proxy_transport, *args, **kwargs), self._pools)


class Http(_Client):
    """The HTTP clients of a process, with many small connection pools.

    For each request, a pool looks at all of its connections, and at the idle ones as many times as there are
    connections. So there are many pools, quick requests share few connections, and long requests have pools of their
    own.
    """

    def __init__(self, settings: Settings, limits: Limits, tls: ssl.SSLContext | None) -> None:
        """Takes milliseconds, most of them for the TLS context."""
        self.limits = limits
        connections = settings.reelq_max_in_flight + limits.spare_connections
        options: dict[str, Any] = {
            "base_url": settings.nemo_api_url,
            "timeout": self.timeout_of(READ_SECONDS),
            "verify": tls or httpx.create_ssl_context(),
        }
        # A lower limit on idle connections would close some that another thread has just been given.
        quick = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=limits.kept_seconds
        )
        super().__init__(limits.pools, limits=quick, **options)
        self.quick_slots = threading.Semaphore(limits.quick_at_once)
        """Limits the quick requests in flight."""
        no_keepalive = httpx.Limits(max_connections=connections, max_keepalive_connections=0)
        self.lasting = _Client(limits.pools, limits=no_keepalive, **options)
        """For streams and files; keeps no idle connections."""
        self._service = str(self.base_url).rstrip("/")

    def url_of(self, path: str) -> str:
        """The full URL of a path. httpx would parse a relative one, and parse it again when joined to the base URL."""
        return self._service + path

    def timeout_of(self, read: float) -> httpx.Timeout:
        """The timeouts of a request whose response may be silent for `read` seconds."""
        return httpx.Timeout(read, connect=_CONNECT_SECONDS, pool=self.limits.pool_seconds)

    def close(self) -> None:
        """Close both clients."""
        super().close()
        self.lasting.close()

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)  # type: ignore[arg-type] # passed on unchanged
        self.lasting.close()


def open_http(settings: Settings, limits: Limits = Limits(), *, tls: ssl.SSLContext | None = None) -> Http:
    """Open a process's HTTP client; without `tls`, it trusts the certificates that this machine trusts."""
    try:
        return Http(settings, limits, tls)
    except (httpx.InvalidURL, ImportError, OSError, ValueError) as error:  # a bad address, proxy or certificate file
        raise errors.SettingsError(f"The HTTP client can't be created: {redact(str(error))}") from None


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the transport's exceptions as ours; `NotSent` if they prove that nothing was sent."""
    try:
        yield
    except NOT_SENT as error:
        raise not_sent(error) from None
    except httpx.TimeoutException:
        raise errors.TimedOut from None
    except httpx.DecodingError as error:
        raise errors.Unintelligible(f"The answer can't be decompressed: {error}") from None
    except httpx.HTTPError as error:
        raise errors.ConnectionLost(f"The connection was lost: {message_of(error)}") from None


def not_sent(error: Exception) -> errors.NotSent:
    problem = "This is not a valid URL" if isinstance(error, _INVALID_ADDRESS) else "No connection to the service"
    return errors.NotSent(f"{problem}: {message_of(error)}")


class _Bounded(httpx.SyncByteStream):
    """Raises what a broken connection would raise once a response is too large or takes too long."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size, deadline = 0, time.monotonic() + MAX_BODY_SECONDS
        for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise httpx.RemoteProtocolError(f"the answer is larger than {MAX_BODY_BYTES} bytes")
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"the answer took longer than {MAX_BODY_SECONDS:g} s")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def limit_body(response: httpx.Response) -> None:
    """Limit how large a response body may be, and how long reading it may take."""
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _Bounded(response.stream)


def read_body(response: httpx.Response) -> bytes:
    """Read the body within the limits. Once it has been read, every call returns it."""
    if not response.is_stream_consumed:
        limit_body(response)
    return response.read()


def exchange(http: httpx.Client, request: httpx.Request, auth: httpx.Auth | None = None) -> httpx.Response:
    """Send a request and read the whole response."""
    response = http.send(request, auth=auth, stream=True)
    try:
        read_body(response)
    finally:
        response.close()
    return response


def secret_of(response: httpx.Response) -> str:
    """The token that the request was sent with, to be removed from anything that repeats it."""
    return str(response.request.headers.get("Authorization", "")).removeprefix("Bearer ")


class TokenSource(Protocol):
    """Where the token comes from. All requests of one account share one source."""

    def current(self) -> Token:
        """The current token; requested first if there is none yet."""

    def renew(self, refused: Token) -> Token:
        """A token newer than the refused one; raises `TokenRefused` if there is none."""


class Bearer(httpx.Auth):
    """Puts the token on each request. When it is refused, renews it and sends the request once more."""

    def __init__(self, tokens: TokenSource) -> None:
        self.tokens = tokens

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self.tokens.current()
        request.headers["Authorization"] = f"Bearer {token.secret.get_secret_value()}"
        response = yield request
        if _is_refusal(response):
            renewed = self.tokens.renew(token)
            request.headers["Authorization"] = f"Bearer {renewed.secret.get_secret_value()}"
            yield request


def _is_refusal(response: httpx.Response) -> bool:
    """Whether the token was refused. Reads the body only if it is JSON: a stream would be read to its end."""
    if "Authorization" not in response.request.headers:  # redirected to another host, which got no token
        return False
    if response.status_code == httpx.codes.UNAUTHORIZED:
        limit_body(response)  # httpx reads the body before it sends the request again
        return True
    if "json" not in response.headers.get("content-type", "").lower():
        return False
    try:
        answer = safe_text.parse(read_body(response))
    except ValueError:
        return False
    return isinstance(answer, dict) and safe_text.to_int(answer.get("code")) in wire.TOKEN_REFUSED
