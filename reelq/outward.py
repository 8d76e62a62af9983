"""Going outward where others say: to addresses that are everybody's, and never into the networks that we stand in.

A name is judged by what it resolves to at the moment of connecting, and the connection goes to the very number that was
judged: a name that points elsewhere a moment later gains nothing. What spellings a number has does not matter either.
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
"""As `socket.getaddrinfo`."""

SECONDS: Final = 15.0
_LONGEST_URL: Final = 2000
_LAST_PORT: Final = 65535
_READ_AT_MOST: Final = 4096
_GLOBAL_UNICAST: Final = ip_network("2000::/3")
_NAT64: Final = ip_network("64:ff9b::/96")
_NOBODYS: Final = tuple(
    ip_network(each)
    for each in (
        "168.63.129.16/32",  # a cloud's own service, at an address that is public elsewhere
        "192.0.0.0/24",  # protocols' own
        "192.88.99.0/24",  # relays from IPv4 into IPv6
        "2001::/32",  # Teredo: IPv4 inside
        "3fff::/20",  # documentation, newer than some Pythons
    )
)
"""Refused although the registries, as Python knows them, call them global."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; its body counts for nothing here."""

    status: int
    retry_after: float | None
    """How many seconds the other side asks us to stay away."""


def check(url: str, allowed: Iterable[Network] = ()) -> None:
    """AddressRefused where it can be seen from the address itself that nothing may be sent there."""
    if len(url) > _LONGEST_URL:
        raise AddressRefused(f"An address has at most {_LONGEST_URL} characters")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefused(f"This is no address: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise AddressRefused("Only addresses that begin with http:// or https:// and name a host")
    if parsed.port is not None and not 0 < parsed.port <= _LAST_PORT:
        raise AddressRefused(f"There is no port {parsed.port}")
    if parsed.userinfo:
        raise AddressRefused("No user name or password in an address: it is shown to whoever lists them")
    literal = _literal(parsed.raw_host.decode("ascii"))
    if literal is not None:
        _judge(literal, parsed.host, tuple(allowed))


def _literal(host: str) -> Address | None:
    """The number that a host is, however it is spelt; None for a name."""
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


def may_reach(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether it is everybody's address, or in a network that the configuration allows."""
    address = _meant(address)
    return any(address in network for network in allowed) or _is_everybodys(address)


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_everybodys(address: Address) -> bool:
    if address.is_multicast or any(address in network for network in _NOBODYS):
        return False
    return address.is_global and (isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST)


def _judge(address: Address, host: str, allowed: Sequence[Network]) -> None:
    if not may_reach(address, allowed):
        is_it = "" if str(address) == host else f", which is {address},"
        raise AddressRefused(f"Nothing is sent to {host}{is_it} as it is no public address")


class Guard(httpcore.NetworkBackend):
    """Connects to what a name resolves to, if all of that may be reached.

    Each connection has one end in time, for all that is done on it: time-outs for single steps count for nothing.
    """

    def __init__(
        self, allowed: Sequence[Network] = (), seconds: float = SECONDS, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self._allowed = tuple(allowed)
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
        """To the first of the numbers that answers."""
        until = _Until(self._seconds)
        failed: httpcore.NetworkError | httpcore.TimeoutException = httpcore.ConnectError(f"{host} has no address")
        for address in self._numbers(host, port):
            try:
                stream = self._plain.connect_tcp(str(address), port, until.left(), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _Timed(stream, until)
        raise failed

    def _numbers(self, host: str, port: int) -> list[Address]:
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} can't be resolved: {error}") from None
        numbers = list(dict.fromkeys(ip_address(each[4][0]) for each in found))
        for number in numbers:
            _judge(number, host, self._allowed)  # one bad one among good ones is bad enough: who knows whose turn it is
        return numbers


class _Until:
    """A moment by this machine's clock."""

    def __init__(self, seconds: float) -> None:
        self._moment = time.monotonic() + seconds

    def left(self) -> float:
        """How many seconds there are to it."""
        left = self._moment - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


class _Timed(httpcore.NetworkStream):
    """A stream that ends at a moment: one that sends a byte now and then would else hold us for days."""

    def __init__(self, stream: httpcore.NetworkStream, until: _Until) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._until.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._until.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._until.left()), self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Transport(httpx.HTTPTransport):
    """httpx's own, over connections that are guarded."""

    def __init__(self, tls: ssl.SSLContext, guard: Guard) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._pool = httpcore.ConnectionPool(ssl_context=tls, network_backend=guard)


class Outward:
    """How one process sends what others asked for; threads may share it."""

    def __init__(
        self, allowed: Sequence[Network] = (), *, seconds: float = SECONDS, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self._allowed = tuple(allowed)
        self._guard = Guard(allowed, seconds, resolve)
        self._tls = httpx.create_ssl_context()  # takes milliseconds: made once

    def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Send it; AddressRefused where that may not be, httpx.HTTPError where nothing whole came back in time.

        Redirects are not followed: an answer that names another address is an answer like any other.
        """
        check(url, self._allowed)
        # One for each: a connection that was kept would not be judged anew. Nor does the environment's proxy have a
        # say: it would resolve the name by its own lights.
        transport = _Transport(self._tls, self._guard)
        with (
            httpx.Client(transport=transport, trust_env=False, follow_redirects=False) as http,
            http.stream("POST", url, content=content, headers={"Connection": "close", **headers}) as response,
        ):
            _read_some(response)
            return Answer(response.status_code, _retry_after(response.headers.get("Retry-After")))


def _read_some(response: httpx.Response) -> None:
    """A little of the body, for the other side's peace: as it came, so that what is packed stays small."""
    size = 0
    try:
        for piece in response.iter_raw():
            size += len(piece)
            if size > _READ_AT_MOST:
                return
    except httpx.HTTPError:
        return  # the status has come, and that is all that counts


def _retry_after(value: str | None) -> float | None:
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:10])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0)
