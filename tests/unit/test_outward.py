"""Going outward: every spelling of an address within is refused, and what was judged is what is connected to."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from reelq import outward
from reelq.errors import AddressRefused
from reelq.outward import Guard, Outward
from tests.receiver import Answer, Receiver

LOOPBACK = (ip_network("127.0.0.0/8"),)
PUBLIC = "93.184.215.14"
HEADERS = {"Content-Type": "application/json"}


Start = Callable[..., Receiver]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts receivers, and stops them after the test."""
    started: list[Receiver] = []

    def begin(answer: Answer | None = None, **where: Any) -> Receiver:
        started.append(Receiver(answer, **where))
        return started[-1]

    yield begin
    for one in started:
        one.stop()


def names(*answers: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A resolver that gives one of these answers after another, the last one for ever; each of several numbers."""
    left = list(answers)

    def resolve(_host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port)) for number in answer.split()]

    return resolve


WITHIN = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.8", "192.0.2.1", "198.18.0.1", "192.88.99.1",
    "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1",
    "5f00::1", "2001::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::1",
]  # fmt: skip


@pytest.mark.parametrize("number", WITHIN)
def test_an_address_within_may_not_be_reached(number: str) -> None:
    assert not outward.may_reach(ip_address(number))


@pytest.mark.parametrize(
    "number", ["8.8.8.8", PUBLIC, "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "172.32.0.1", "100.128.0.1"]
)
def test_a_public_address_may_be_reached(number: str) -> None:
    assert outward.may_reach(ip_address(number))


def test_a_network_of_ones_own_may_be_allowed_and_no_other_with_it() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd12::/16"))
    assert all(outward.may_reach(ip_address(one), allowed) for one in ("10.1.2.3", "fd12::7", "::ffff:10.1.2.3"))
    assert not any(outward.may_reach(ip_address(one), allowed) for one in ("10.2.0.1", "fd13::7", "127.0.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "//example.com/",
        "example.com",
        "http:///path",
        "http://",
        "",
        "http://ann@example.com/",
        "http://ann:secret@example.com/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://exa\nmple.com/",
        "http://example.com/" + "x" * 2000,
        "http://\ud800.example/",
    ],
)
def test_what_is_no_address_for_others_is_refused_as_it_is_written(url: str) -> None:
    with pytest.raises(AddressRefused):
        outward.check(url)


SPELLINGS = [
    "http://127.0.0.1/", "http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/",
    "http://0x7f.0x0.0x0.0x1/", "http://0177.0.0.01/", "http://017700000001/", "http://0/", "http://127.0.0.1./",
    "http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/",
    "http://[::1]/", "http://[::]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::127.0.0.1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/", "http://[fd00:ec2::254]/",
    "http://localhost/", "http://LOCALHOST./", "http://a.localhost:8000/", "http://127。0。0。1/", "https://10.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", SPELLINGS)
def test_an_address_within_is_refused_however_it_is_spelt(url: str) -> None:
    with pytest.raises(AddressRefused):
        outward.check(url)


@pytest.mark.parametrize("url", [url for url in SPELLINGS if "localhost" not in url.lower()])
def test_no_connection_is_made_to_an_address_within_however_it_was_spelt(url: str) -> None:
    try:
        host = httpx.URL(url).raw_host.decode()
    except httpx.InvalidURL:
        return  # such an address gets no further than this
    with pytest.raises(AddressRefused):
        Guard(seconds=1).connect_tcp(host.rstrip("."), 80)


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "http://example.com:8080/", "https://8.8.8.8/", "http://xn--bcher-kva.example/"]
)
def test_an_address_of_everybodys_is_none_of_this(url: str) -> None:
    outward.check(url)


def test_what_is_sent_arrives_as_it_was_where_its_network_is_allowed(start: Start) -> None:
    receiver = start()
    answer = Outward(LOOPBACK).post(f"http://127.0.0.1:{receiver.port}/hook?x=1", b'{"a":1}', HEADERS)
    assert (answer.status, answer.retry_after) == (204, None)
    (came,) = receiver.came
    assert (came.path, came.headers["Content-Type"], came.body) == ("/hook?x=1", "application/json", b'{"a":1}')


@pytest.mark.parametrize("answer", ["127.0.0.1", f"{PUBLIC} 127.0.0.1", f"127.0.0.1 {PUBLIC}", "::ffff:127.0.0.1"])
def test_a_name_that_resolves_to_this_machine_is_refused(start: Start, answer: str) -> None:
    receiver = start()
    with pytest.raises(AddressRefused, match=r"hooks\.example"):
        Outward(resolve=names(answer)).post(f"http://hooks.example:{receiver.port}/", b"{}", HEADERS)
    assert receiver.came == []


def test_the_systems_own_resolver_is_judged_the_same_way(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = start()
    monkeypatch.setattr(socket, "getaddrinfo", names("127.0.0.1"))
    with pytest.raises(AddressRefused, match=r"localtest\.me"):
        Outward(resolve=socket.getaddrinfo).post(f"http://localtest.me:{receiver.port}/", b"{}", HEADERS)
    assert receiver.came == []


def test_a_name_that_turns_inward_after_it_was_judged_gains_nothing(start: Start, monkeypatch: Any) -> None:
    outer = start(host="127.0.0.2")  # stands for a public one
    within = start(port=outer.port)
    real, rebinding = socket.getaddrinfo, names("127.0.0.2", "127.0.0.1")

    def resolve(host: str, *args: Any, **kwargs: Any) -> Any:
        is_name = host == "hooks.example"
        return rebinding(host, *args, **kwargs) if is_name else real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    sender = Outward((ip_network("127.0.0.2/32"),), resolve=resolve)
    assert sender.post(f"http://hooks.example:{outer.port}/", b"{}", HEADERS).status == 204
    assert (len(outer.came), len(within.came)) == (1, 0)


def test_a_name_is_judged_anew_each_time(start: Start) -> None:
    receiver = start()
    allowed = (ip_network("127.0.0.1/32"),)
    sender = Outward(allowed, resolve=names("127.0.0.1", "127.0.0.2"))
    url = f"http://hooks.example:{receiver.port}/"
    assert sender.post(url, b"1", HEADERS).status == 204
    with pytest.raises(AddressRefused):
        sender.post(url, b"2", HEADERS)
    assert [each.body for each in receiver.came] == [b"1"]


def test_the_next_number_is_tried_where_the_first_does_not_answer(start: Start) -> None:
    receiver = start()
    sender = Outward(LOOPBACK, resolve=names("127.0.0.9 127.0.0.1"))
    assert sender.post(f"http://hooks.example:{receiver.port}/", b"{}", HEADERS).status == 204
    assert receiver.came[0].headers["Host"] == f"hooks.example:{receiver.port}"


def test_a_redirect_is_an_answer_and_is_not_followed(start: Start) -> None:
    within = start()

    def elsewhere(request: BaseHTTPRequestHandler) -> None:
        request.send_response(307)
        request.send_header("Location", f"http://127.0.0.1:{within.port}/secret")
        request.end_headers()

    receiver = start(elsewhere)
    assert Outward(LOOPBACK).post(f"http://127.0.0.1:{receiver.port}/", b"{}", HEADERS).status == 307
    assert within.came == []


def test_the_environments_proxy_has_no_say(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = start(), start()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    Outward(LOOPBACK).post(f"http://127.0.0.1:{receiver.port}/", b"{}", HEADERS)
    assert (len(proxy.came), len(receiver.came)) == (0, 1)


def test_of_an_answer_that_has_no_end_little_is_read(start: Start) -> None:
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        try:
            while sent < 50_000_000:
                sent += request.wfile.write(b"x" * 65536)
        except OSError:
            return

    receiver = start(endless)
    began = time.monotonic()
    assert Outward(LOOPBACK).post(f"http://127.0.0.1:{receiver.port}/", b"{}", HEADERS).status == 200
    assert time.monotonic() - began < 5
    receiver.stop()
    assert sent < 20_000_000  # what the sockets' buffers take, and no more


def test_one_that_sends_a_byte_now_and_then_does_not_hold_us(start: Start) -> None:
    over = threading.Event()

    def drop_by_drop(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.1):
            try:
                request.wfile.write(b"x")
            except OSError:
                return

    receiver = start(drop_by_drop)
    began = time.monotonic()
    with pytest.raises(httpx.TimeoutException):
        Outward(LOOPBACK, seconds=0.7).post(f"http://127.0.0.1:{receiver.port}/", b"{}", HEADERS)
    over.set()
    assert 0.5 < time.monotonic() - began < 3


def test_one_that_never_answers_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(httpx.TimeoutException):
            Outward(LOOPBACK, seconds=0.4).post(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", HEADERS)
        assert time.monotonic() - began < 3


def test_a_name_that_nobody_knows_is_no_answer() -> None:
    def unknown(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror("no such name")

    with pytest.raises(httpx.ConnectError, match="no such name"):
        Outward(resolve=unknown).post("https://hooks.example/", b"{}", HEADERS)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("120", 120.0), ("0", 0.0), ("soon", None), ("-5", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_how_long_to_stay_away_is_read_where_it_is_said(start: Start, told: str, seconds: float | None) -> None:
    def busy(request: BaseHTTPRequestHandler) -> None:
        request.send_response(503)
        request.send_header("Retry-After", told)
        request.end_headers()

    receiver = start(busy)
    answer = Outward(LOOPBACK).post(f"http://127.0.0.1:{receiver.port}/", b"{}", HEADERS)
    assert (answer.status, answer.retry_after) == (503, seconds)


def test_a_certificate_has_to_be_for_the_name_and_not_for_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=hooks.example"]
    made += ["-addext", "subjectAltName=DNS:hooks.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    receiver = start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    sender = Outward(LOOPBACK, resolve=names("127.0.0.1"))
    assert sender.post(f"https://hooks.example:{receiver.port}/", b"{}", HEADERS).status == 204
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        sender.post(f"https://other.example:{receiver.port}/", b"{}", HEADERS)
