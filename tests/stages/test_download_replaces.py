"""What lies at a result's place stays there until a whole file replaces it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from reelq.errors import BrokenDownload
from reelq.job import Route, Stage
from reelq.remote.download import Downloaded
from worker.desk import Desk, Job
from worker.stages.download import download


@dataclass
class _Desk:
    """What the stage asks of its desk here, and a service whose file comes in two halves."""

    place: Path
    breaks: bool

    @property
    def remote(self) -> "_Desk":
        return self

    def close_costs(self) -> None: ...

    def download(self, _url: str, _render_id: str, part: Path, *_: Any) -> Downloaded:
        part.write_bytes(b"half of")
        assert self.place.read_bytes() == b"an older result"
        if self.breaks:
            part.unlink()
            raise BrokenDownload
        part.write_bytes(b"half of the new one")
        return Downloaded(19, "a hash")


def fetch(place: Path, *, breaks: bool) -> None:
    place.write_bytes(b"an older result")
    job = Job("job_1", 1, 1, Stage.DOWNLOAD, Route.EDIT, "Trim it", "en", (), (), place)
    download(job, cast("Desk", _Desk(place, breaks)))


def test_a_whole_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    fetch(tmp_path / "mine.mp4", breaks=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"half of the new one"]


def test_a_download_that_breaks_leaves_the_older_one(tmp_path: Path) -> None:
    with pytest.raises(BrokenDownload):
        fetch(tmp_path / "mine.mp4", breaks=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an older result"]
