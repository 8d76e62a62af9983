"""A process killed while it stores a content: the content is there whole, or not at all."""

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reelq.storage import LATELY, Storage, Stored
from tests.integration.forked import Forked

CONTENT = b"a video" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def store(folder: Path, moment: str) -> str:
    """Runs in a process of its own, which it kills at this moment."""
    place = os.replace

    def chunks() -> Iterator[bytes]:
        yield CONTENT[:-7]
        if moment == "while it comes":
            die()
        yield CONTENT[-7:]

    def replace(*paths: Any) -> None:
        if moment == "after it is in its place":
            place(*paths)
        die()

    os.replace = replace  # type: ignore[assignment]
    Storage(folder).put(chunks())
    return "it lived"


@pytest.mark.parametrize(
    ("moment", "is_there"),
    [("while it comes", False), ("before it is in its place", False), ("after it is in its place", True)],
)
def test_a_process_killed_while_it_stores_leaves_the_content_whole_or_not_at_all(
    tmp_path: Path, moment: str, is_there: bool
) -> None:
    storage = Storage(tmp_path)
    assert Forked(lambda: store(tmp_path, moment)).end() == ("", -signal.SIGKILL)
    assert (storage.stat(SHA256) == Stored(SHA256, len(CONTENT))) is is_there
    left = list((tmp_path / "incoming").iterdir())
    assert len(left) == (not is_there)
    assert storage.sweep(time.time() - LATELY) == 0  # somebody may still be at it
    for path in left:
        os.utime(path, (0, 0))
    assert storage.sweep(time.time() - LATELY) == len(left)
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert names == ([SHA256] if is_there else [])
