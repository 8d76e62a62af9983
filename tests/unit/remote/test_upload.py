"""Files on their way out are counted once, however often they are sent."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from reelq import errors
from reelq.nemo.transfer import multipart_parts


def test_what_has_gone_is_counted_over_all_files_and_back_when_one_is_rewound(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"12345")
    seen: list[int] = []
    with ExitStack() as stack:
        (_, (_, first)), (_, (_, second)) = multipart_parts(
            [tmp_path / "a.mp4", tmp_path / "b.mp4"], seen.append, stack
        )
        first.read()
        second.read(2)
        second.seek(0)
        second.read()
    assert seen == [5, 7, 10]


def test_files_are_closed_also_when_a_later_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"12345")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(errors.FileUnreadable, match=r"gone\.mp4"), ExitStack() as stack:
        multipart_parts([tmp_path / "a.mp4", tmp_path / "gone.mp4"], lambda _: None, stack)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
