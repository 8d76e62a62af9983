"""An answer's body, read whole but within bounds: neither a flood nor a trickle without end holds a caller for ever."""

import time
from collections.abc import Iterator
from typing import Final

import httpx

LARGEST: Final = 64 * 1024 * 1024
"""Bytes; the largest real answer, a session's state, stays far below."""

LONGEST: Final = 300.0
"""Seconds from its first byte to its last."""


class _Bounded(httpx.SyncByteStream):
    """Breaks off, as a broken connection would, where a bound is passed."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size, until = 0, time.monotonic() + LONGEST
        for chunk in self._stream:
            size += len(chunk)
            if size > LARGEST:
                raise httpx.RemoteProtocolError(f"the answer is larger than {LARGEST} bytes")
            if time.monotonic() > until:
                raise httpx.ReadTimeout(f"the answer took longer than {LONGEST:g} s")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def bound(response: httpx.Response) -> None:
    """Make whoever reads this body read it within bounds."""
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _Bounded(response.stream)


def read_whole(response: httpx.Response) -> bytes:
    """The body; once read, it is the same again for everybody who asks."""
    if not response.is_stream_consumed:
        bound(response)
    return response.read()
