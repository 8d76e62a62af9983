"""A client that does what no library would: announces what it does not send, and hangs up in the middle."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.api.serving import Served


@contextmanager
def rough(served: Served, owner: str, head: str, *headers: str) -> Iterator[socket.socket]:
    """A connection on which a request with these lines has begun."""
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname or "", address.port or 0), 60) as line:
        lines = [f"{head} HTTP/1.1", "Host: test", f"Authorization: Bearer {served.key(owner)}", *headers, "", ""]
        line.sendall("\r\n".join(lines).encode())
        yield line


def status(line: socket.socket) -> int:
    """The status of what comes back."""
    return int(line.recv(4096).split()[1])


def kept(served: Served) -> list[Path]:
    """All files in the storage, whole or not."""
    return sorted(path for path in (served.service.settings.reelq_data_dir / "storage").rglob("*") if path.is_file())
