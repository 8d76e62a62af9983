"""An HTTP server of the test's own, that takes what is sent to it, notes it, and answers as it is told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True, slots=True)
class Came:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


def says(status: int, **headers: str) -> Answer:
    """An answer without a body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()

    return answer


class Receiver:
    """The server; `answer` may be changed while it runs."""

    def __init__(self, answer: Answer | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.answer = answer or says(204)
        self.came: list[Came] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.came.append(Came(self.path, dict(self.headers), body))
                receiver.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None:
                """Whoever asked has left; that is its own affair."""

        self.server = Server((host, port), Handler)
        self.port = int(self.server.server_address[1])
        self.url = f"http://{host}:{self.port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """From now on nobody listens there."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


@contextmanager
def receiving(answer: Answer | None = None, **where: Any) -> Iterator[Receiver]:
    """A server until the block ends."""
    receiver = Receiver(answer, **where)
    try:
        yield receiver
    finally:
        receiver.stop()
