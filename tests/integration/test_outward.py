"""Requests to others' endpoints over real sockets: the connection goes to the very address that was judged."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from reelq.egress import EgressClient
from reelq.errors import AddressRefused
from tests.receiver import Answer, Receiver

LOOPBACK = (ip_network("127.0.0.0/8"),)
HEADERS = {"Content-Type": "application/json"}
PUBLIC = "93.184.215.14"

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


def test_what_is_sent_arrives_as_it_was_past_any_proxy(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = start(), start()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    answer = EgressClient(LOOPBACK).post(f"http://127.0.0.1:{receiver.port}/hook?x=1", b'{"a":1}', HEADERS)
    assert (answer.status, answer.retry_after) == (204, None)
    (came,) = receiver.came
    assert (came.path, came.headers["Content-Type"], came.body) == ("/hook?x=1", "application/json", b'{"a":1}')
    assert proxy.came == []


@pytest.mark.parametrize("answer", ["127.0.0.1", f"{PUBLIC} 127.0.0.1", f"127.0.0.1 {PUBLIC}", "::ffff:127.0.0.1"])
def test_a_name_that_resolves_to_this_machine_is_refused(start: Start, answer: str) -> None:
    receiver = start()
    with pytest.raises(AddressRefused, match=r"hooks\.example"):
        EgressClient(resolve=names(answer)).post(f"http://hooks.example:{receiver.port}/", b"{}", HEADERS)
    assert receiver.came == []


def test_a_name_that_turns_inward_after_it_was_judged_gains_nothing(start: Start, monkeypatch: Any) -> None:
    outer = start(host="127.0.0.2")  # stands for a public one
    within = start(port=outer.port)
    real, rebinding = socket.getaddrinfo, names("127.0.0.2", "127.0.0.1")

    def resolve(host: str, *args: Any, **kwargs: Any) -> Any:
        is_name = host == "hooks.example"
        return rebinding(host, *args, **kwargs) if is_name else real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    sender = EgressClient((ip_network("127.0.0.2/32"),), resolve=resolve)
    assert sender.post(f"http://hooks.example:{outer.port}/", b"{}", HEADERS).status == 204
    assert (len(outer.came), len(within.came)) == (1, 0)
    with pytest.raises(AddressRefused):  # it is judged anew each time
        sender.post(f"http://hooks.example:{outer.port}/", b"{}", HEADERS)
    assert (len(outer.came), len(within.came)) == (1, 0)


def test_the_next_number_is_tried_where_the_first_does_not_answer(start: Start) -> None:
    receiver = start()
    sender = EgressClient(LOOPBACK, resolve=names("127.0.0.9 127.0.0.1"))
    assert sender.post(f"http://hooks.example:{receiver.port}/", b"{}", HEADERS).status == 204
    assert receiver.came[0].headers["Host"] == f"hooks.example:{receiver.port}"


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
    assert EgressClient(LOOPBACK).post(f"http://127.0.0.1:{receiver.port}/", b"{}", HEADERS).status == 200
    receiver.stop()
    assert sent < 20_000_000  # what the sockets' buffers take, and no more


def test_an_endpoint_that_sends_a_byte_now_and_then_is_given_up(start: Start) -> None:
    over = threading.Event()

    def drop_by_drop(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.1):
            try:
                request.wfile.write(b"x")
            except OSError:
                return

    receiver = start(drop_by_drop)
    with pytest.raises(httpx.TimeoutException):
        EgressClient(LOOPBACK, seconds=0.7).post(f"http://127.0.0.1:{receiver.port}/", b"{}", HEADERS)
    over.set()


def test_a_certificate_has_to_be_for_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=hooks.example"]
    made += ["-addext", "subjectAltName=DNS:hooks.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    receiver = start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    sender = EgressClient(LOOPBACK, resolve=names("127.0.0.1"))
    assert sender.post(f"https://hooks.example:{receiver.port}/", b"{}", HEADERS).status == 204
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        sender.post(f"https://other.example:{receiver.port}/", b"{}", HEADERS)
