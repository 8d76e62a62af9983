"""HTTP requests to addresses that users choose, but never to private networks.

A host name is resolved and checked when connecting, and the connection goes to the very IP address that was checked. So
a name that resolves to something else a moment later gains nothing, nor does an unusual spelling of an address.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import httpcore
import httpx

from reelq.errors import AddressRefused
from reelq.settings import Network

Address = IPv4Address | IPv6Address
Resolve = Callable[..., Sequence[tuple[Any, ...]]]
"""A function like `socket.getaddrinfo`."""
SECONDS: Final = 15.0
_MAX_URL_LENGTH: Final = 2000
_MAX_PORT: Final = 65535
_MAX_BYTES_READ: Final = 4096
_GLOBAL_UNICAST: Final = ip_network("2000::/3")
_NAT64: Final = ip_network("64:ff9b::/96")
_NOT_PUBLIC: Final = tuple(
    ip_network(each)
    for each in (
        "168.63.129.16/32",  # Azure's internal service, at an otherwise public address
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "2001::/32",  # Teredo, which embeds IPv4 addresses
        "3fff::/20",  # documentation; unknown to older Pythons
    )
)
"""Networks that are refused although Python's `ipaddress` counts them as global."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response without its body, which does not matter here."""

    status: int
    retry_after: float | None
    """The seconds of the Retry-After header."""


def check(url: str, allowed: Iterable[Network] = ()) -> None:
    """Raise AddressRefused if the URL itself shows that nothing may be sent there."""
    if len(url) > _MAX_URL_LENGTH:
        raise AddressRefused(f"A URL may have at most {_MAX_URL_LENGTH} characters")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefused(f"This is not a valid URL: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise AddressRefused("The URL must start with http:// or https:// and name a host")
    if parsed.port is not None and not 0 < parsed.port <= _MAX_PORT:
        raise AddressRefused(f"Port {parsed.port} is not valid")
    if parsed.userinfo:
        raise AddressRefused("The URL must not contain a user name or password: lists of endpoints show it")
    address = _parse_address(parsed.raw_host.decode("ascii"))
    if address is not None:
        _check_address(address, parsed.host, allowed)


def _parse_address(host: str) -> Address | None:
    """The IP address that a host spells, in any notation; None for a name."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 017700000001, 2130706433
    except (OSError, UnicodeError):
        return None


def is_allowed(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether the address is public, or in an allowed network."""
    address = _embedded_ipv4(address)
    return any(address in network for network in allowed) or _is_public(address)


def _embedded_ipv4(address: Address) -> Address:
    """The IPv4 address that an IPv6 address embeds, if it embeds one; otherwise the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    if address.is_multicast or any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and (isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST)


def _check_address(address: Address, host: str, allowed: Iterable[Network]) -> None:
    if not is_allowed(address, allowed):
        explanation = "" if str(address) == host else f", which is {address},"
        raise AddressRefused(f"{host}{explanation} is not a public address")


class Guard(httpcore.NetworkBackend):
    """Connects to a host if all addresses that it resolves to are allowed.

    Each connection has one deadline for everything that is done on it; time-outs of single steps are ignored.
    """

    def __init__(
        self, allowed: Sequence[Network] = (), seconds: float = SECONDS, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._resolve = resolve
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers."""
        deadline = time.monotonic() + self._seconds
        last_error: httpcore.NetworkError | httpcore.TimeoutException = httpcore.ConnectError(f"{host} has no address")
        for address in self._resolve_allowed(host, port):
            try:
                stream = self._plain.connect_tcp(
                    str(address), port, _seconds_to(deadline), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
            else:
                return _StreamWithDeadline(stream, deadline)
        raise last_error

    def _resolve_allowed(self, host: str, port: int) -> list[Address]:
        try:
            results = self._resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} can't be resolved: {error}") from None
        addresses = list(dict.fromkeys(ip_address(result[4][0]) for result in results))
        for address in addresses:
            _check_address(address, host, self._allowed)  # one refused address is enough: any of them could be tried
        return addresses


def _seconds_to(deadline: float) -> float:
    """The seconds until this time of the monotonic clock. Raises ReadTimeout if it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout
    return seconds


class _StreamWithDeadline(httpcore.NetworkStream):
    """A stream with a deadline: otherwise a server that sends a byte now and then could hold it for days."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds_to(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _seconds_to(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _seconds_to(self._deadline))
        return _StreamWithDeadline(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Transport(httpx.HTTPTransport):
    """The transport of httpx, with connections made by a `Guard`."""

    def __init__(self, tls: ssl.SSLContext, guard: Guard) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._pool = httpcore.ConnectionPool(ssl_context=tls, network_backend=guard)


class EgressClient:
    """The client for requests to addresses that users choose; threads can share it."""

    def __init__(
        self, allowed: Sequence[Network] = (), *, seconds: float = SECONDS, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self._allowed = allowed
        self._guard = Guard(allowed, seconds, resolve)
        self._tls = httpx.create_ssl_context()  # takes milliseconds, so it is created once

    def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Response:
        """Send a POST request.

        Raises AddressRefused if the address is not allowed, and httpx.HTTPError if no complete response arrives in
        time. Redirects are not followed: such a response is returned like any other.
        """
        check(url, self._allowed)
        # A transport per request, as a reused connection would not be checked again. Proxies of the environment are
        # ignored, as a proxy would resolve the name itself.
        transport = _Transport(self._tls, self._guard)
        with (
            httpx.Client(transport=transport, trust_env=False, follow_redirects=False) as http,
            http.stream("POST", url, content=content, headers={"Connection": "close", **headers}) as response,
        ):
            _read_some(response)
            return Response(response.status_code, _retry_after(response.headers.get("Retry-After")))


def _read_some(response: httpx.Response) -> None:
    """Read a little of the body, so that the server can finish sending. It stays compressed, which bounds its size."""
    size = 0
    try:
        for piece in response.iter_raw():
            size += len(piece)
            if size > _MAX_BYTES_READ:
                return
    except httpx.HTTPError:
        return  # only the status matters, and it has arrived


def _retry_after(value: str | None) -> float | None:
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:10])
    try:
        retry_at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((retry_at.replace(tzinfo=retry_at.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0)
