"""A service of raw bytes: each request is answered with the next of a list, however wrong, and is remembered."""

import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from reelq.nemo.client import Remote
from reelq.nemo.stream import Patience
from reelq.nemo.transport import Http

PATIENT: Final = Patience(life=100, silence=100)
Answer = bytes | Callable[[socket.socket], None]
"""Bytes to send, empty to hang up; or what does the talking itself, and hangs up after it."""

_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def reply(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """A well-formed answer; a dash in a header's name is an underscore here."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def say(content: object, status: str = "200 OK", **headers: str) -> bytes:
    """A well-formed answer of JSON."""
    return reply(status, json.dumps(content).encode(), Content_Type="application/json", **headers)


def cut(begun: bytes) -> Answer:
    """An answer that breaks off after these bytes."""
    return lambda connection: connection.sendall(begun)


def endless(kind: str, *, status: str = "200 OK", chunk: bytes = b" " * 4096, pause: float = 0) -> Answer:
    """An answer that goes on for as long as anybody listens."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        wait = threading.Event()
        while not wait.wait(pause):
            connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

    return talk


class ScriptedService(socketserver.ThreadingTCPServer):
    """The answers in their order; the last one is repeated."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def finish_request(self, request: Any, client_address: object) -> None:
        """One connection."""
        with suppress(OSError), request.makefile("rb") as incoming:  # who hangs up on us is part of the tests
            while self._serve(request, incoming):
                pass

    def _serve(self, connection: socket.socket, incoming: Any) -> bool:
        """One request; whether the connection lives on."""
        head = b""
        while (line := incoming.readline()) not in {b"", b"\r\n"}:
            head += line
        if not head:
            return False
        with self._lock:
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            self.heads.append(head.decode("latin-1"))
        if callable(answer):
            answer(connection)
            return False
        length = _LENGTH.search(head)
        self.bodies.append(incoming.read(int(length[1])) if length else b"")
        connection.sendall(answer)
        return bool(answer)


To = Callable[[str], Http]
Meet = Callable[..., tuple[Remote, ScriptedService]]
"""The fixtures `http_to` and `meet`."""
