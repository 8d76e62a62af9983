"""A line to a service that can be cut."""

import socket
import threading
from contextlib import suppress


class Line:
    """A relay before the service. It is cut once: after so many bytes of one way, or in place of one answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.left: dict[str, int] = {}
        """How many more bytes go `there` or come `back` before it is cut."""
        self.unanswered = b""
        """A request with this in it arrives, and its answer does not."""
        self.cut = threading.Event()
        self.mended = threading.Event()
        self.mended.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Nobody comes through any more."""
        self._door.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.mended.wait(60)
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as service:
            service.settimeout(None)
            back = threading.Thread(target=self._hand_on, args=(service, client, "back"), daemon=True)
            back.start()
            self._hand_on(client, service, "there")
            back.join()

    def _hand_on(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if self.unanswered and self.unanswered in piece:
                    self.unanswered, self.left["back"] = b"", 0
                if way in self.left and len(piece) > self.left[way]:
                    target.sendall(piece[: self.left.pop(way)])
                    self.mended.clear()
                    self.cut.set()
                    break
                if way in self.left:
                    self.left[way] -= len(piece)
                target.sendall(piece)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
