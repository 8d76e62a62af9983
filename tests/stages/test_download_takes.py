"""A row that is the same as another takes that one's finished file, if it is still what it was; else it fetches."""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from reelq.job import Stage
from tests.stages.rows import row_in
from worker.desk import Desk, Finished
from worker.stages.download import download

CONTENT = b"a finished video"


class Fetched(Exception):
    """The service was asked for the file."""


class _Service:
    def download(self, *_: Any) -> None:
        raise Fetched


@dataclass
class _Desk:
    """What the stage asks of its desk here."""

    same: Finished
    remote: _Service
    closed: bool = False

    def close_costs(self) -> None:
        self.closed = True

    def same_result(self) -> Finished:
        return self.same

    def say(self, words: str) -> None:
        assert "taken from" in words


@pytest.fixture
def same(tmp_path: Path) -> Finished:
    path = tmp_path / "theirs.mp4"
    path.write_bytes(CONTENT)
    return Finished(path, len(CONTENT), sha256(CONTENT).hexdigest())


def take(same: Finished, folder: Path) -> Path:
    job = row_in(Stage.DOWNLOAD, result=folder / "out" / "mine.mp4", takes_a_result=True)
    desk = _Desk(same, _Service())
    try:
        download(job, cast("Desk", desk))
    finally:
        assert desk.closed  # the row ends with it: what it cost is known by then, however it came to its file
    assert job.part
    assert job.result
    assert not job.part.exists()
    return job.result


def test_a_file_that_is_as_it_was_is_taken_without_asking_the_service(same: Finished, tmp_path: Path) -> None:
    assert take(same, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", ["size", "content", "gone"])
def test_a_file_that_is_not_what_it_was_is_left_alone(same: Finished, tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "theirs.mp4"
    if wrong == "size":
        same = replace(same, size=same.size + 1)
    elif wrong == "content":
        path.write_bytes(b"x" * same.size)
    else:
        path.unlink()
    with pytest.raises(Fetched):
        take(same, tmp_path)
    assert not (tmp_path / "out" / "mine.mp4").exists()
    assert not (tmp_path / "out" / "mine.mp4.part").exists()
    assert wrong == "gone" or path.exists()
