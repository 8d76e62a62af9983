"""Bodies as they stream in: counted, hashed and judged piece by piece, and refused as soon as that can be told."""

import hashlib
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Protocol

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.problems import Problem
from api.routing import too_large
from reelq import media
from reelq.manifest.table import control_character
from reelq.manifest.uploads import is_a_path
from reelq.storage import Incoming, Storage, Stored

_PIECE: Final = 1 << 20
"""So much is gathered before it goes to disk: each way to another thread and back takes its time."""
_LONGEST_NAME: Final = 200
_WHOLE: Final = re.compile(r"[0-9]{1,18}")


class Sink(Protocol):
    """Whatever a part of a body goes into."""

    def write(self, chunk: bytes) -> None:
        """Some more of it."""

    def end(self) -> None:
        """That was all of it."""


async def pour(request: Request, feed: Callable[[bytes], None], most: int) -> None:
    """The whole body into `feed`, in pieces, from threads; a problem where it is too long or breaks off."""
    told = request.headers.get("content-length", "")
    promised = int(told) if _WHOLE.fullmatch(told) else None
    if promised is not None and promised > most:
        raise too_large(most)
    came, waiting = 0, bytearray()
    try:
        async for chunk in request.stream():
            came += len(chunk)
            if came > most:
                raise too_large(most)
            waiting += chunk
            if len(waiting) >= _PIECE:
                await run_in_threadpool(feed, bytes(waiting))
                waiting.clear()
    except ClientDisconnect:
        raise Problem(400, "cut_off", "The request broke off") from None
    if promised is not None and came != promised:
        raise Problem(400, "cut_off", f"{promised} bytes were announced, {came} came")
    await run_in_threadpool(feed, bytes(waiting))


class Text:
    """A part that is wanted whole, in memory: a manifest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._came = 0
        self._chunks: list[bytes] = []
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what came."""
        return self._hash.hexdigest()

    @property
    def whole(self) -> bytes:
        """What came."""
        return b"".join(self._chunks)

    def write(self, chunk: bytes) -> None:
        """Some more of it."""
        self._came += len(chunk)
        if self._came > self._most:
            raise too_large(self._most)
        self._hash.update(chunk)
        self._chunks.append(chunk)

    def end(self) -> None:
        """That was all of it."""


class Upload:
    """A file on its way into the storage, if it is one that the remote service would take."""

    def __init__(self, storage: Storage, name: str, open_files: ExitStack) -> None:
        """It is dropped with `open_files`, unless it is kept by then."""
        check_name(name)
        self.name = name
        self._incoming: Incoming = open_files.enter_context(storage.receive())
        self._head = b""
        self._judged = False

    @property
    def sha256(self) -> str:
        """The hash of what came."""
        return self._incoming.sha256

    @property
    def size(self) -> int:
        """How many bytes came."""
        return self._incoming.size

    @property
    def incoming(self) -> Incoming:
        """Where it lies meanwhile."""
        return self._incoming

    def write(self, chunk: bytes) -> None:
        """Some more of it."""
        if self._incoming.size + len(chunk) > media.MAX_BYTES:
            raise file_too_large(self.name)
        if not self._judged:
            self._head += chunk[: media.HEAD_BYTES - len(self._head)]
            if len(self._head) == media.HEAD_BYTES:
                self._judge()
        self._incoming.write(chunk)

    def end(self) -> None:
        """That was all of it; a problem where it is none that could be used."""
        if not self._incoming.size:
            raise Problem(422, "empty_file", f"{self.name} is empty", advice="Send the file's bytes as they are.")
        self._judge()
        self._incoming.end()

    def keep(self) -> Stored:
        """It is in the storage from now on."""
        return self._incoming.keep()

    def _judge(self) -> None:
        self._judged = True
        found = media.not_as_named(self.name, self._head)
        if found:
            raise Problem(
                415, "type_not_accepted", f"{self.name} is {found}, by its first bytes", advice="Name it by what it is."
            )


def check_name(name: str) -> None:
    """A problem where a file can't be called that, or where the service does not take such files."""
    if control_character(name) or is_a_path(name) or len(name) > _LONGEST_NAME or not name.rpartition("/")[2]:
        detail = "This is no name of a file: it leads elsewhere, is too long, or holds what no name does"
        raise Problem(422, "invalid_name", detail, advice=f"At most {_LONGEST_NAME} characters, such as beach.mp4.")
    if media.kind_of(name) is None:
        accepted = " ".join(extension for kind in media.ACCEPTED.values() for extension in kind)
        detail = f"{name}: the service does not accept this type of file"
        raise Problem(415, "type_not_accepted", detail, advice=f"Accepted: {accepted}.")


def file_too_large(name: str) -> Problem:
    """More bytes than the remote service takes."""
    return Problem(413, "file_too_large", f"{name} is over 500 MB", advice="Compress or trim it.")
