"""The storage: a content is there whole under its hash or not at all, whoever dies over it."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from reelq.errors import CannotWrite
from reelq.storage import LATELY, Storage, Stored, hash_of

CONTENT = b"a video" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LONG_AGO = time.time() - 3 * LATELY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def storage(folder: Path) -> Storage:
    return Storage(folder)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def age(path: Path) -> None:
    os.utime(path, (LONG_AGO, LONG_AGO))


def test_only_what_is_put_is_found_by_its_hash(storage: Storage, folder: Path) -> None:
    assert storage.stat(SHA256) is None
    for ask in (storage.open, storage.path):
        with pytest.raises(FileNotFoundError, match="not in the storage"):
            ask(SHA256)
    assert storage.put([CONTENT[:10], CONTENT[10:]]) == storage.stat(SHA256) == Stored(SHA256, len(CONTENT))
    with storage.open(SHA256) as file:
        assert file.read() == storage.path(SHA256).read_bytes() == CONTENT
    assert files(folder) == [SHA256]


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", SHA256.upper(), SHA256[1:], f"{SHA256}\n", f"/{SHA256}"]
)
def test_what_is_no_hash_is_no_path_either(storage: Storage, name: str) -> None:
    with pytest.raises(ValueError, match="no hash"):
        storage.path(name)
    assert hash_of(f"sha256:{name}") == ""
    assert hash_of(f"sha256:{SHA256}") == SHA256
    assert hash_of(SHA256) == ""


def test_a_content_that_breaks_off_leaves_nothing(storage: Storage, folder: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT
        assert len(files(folder)) == 1
        raise ConnectionError

    with pytest.raises(ConnectionError):
        storage.put(broken())
    assert files(folder) == []


def test_one_content_is_kept_once_and_the_newer_copy_mends_the_older(storage: Storage, folder: Path) -> None:
    storage.put([CONTENT])
    storage.path(SHA256).write_bytes(b"damaged")
    storage.put([CONTENT])
    assert files(folder) == [SHA256]
    assert storage.path(SHA256).read_bytes() == CONTENT


def test_a_disk_without_room_is_told_as_such_and_keeps_nothing(
    storage: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def open_on_a_full_disk(path: Path, mode: str) -> BinaryIO:
        real(path, mode).close()
        return cast("BinaryIO", real(Path("/dev/full"), "wb", buffering=0))

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)
    with storage.receive() as incoming, pytest.raises(CannotWrite, match="no room"):
        incoming.write(b"x")
    assert files(folder) == []


def test_a_later_run_goes_on_from_a_copy_of_what_an_earlier_one_left(storage: Storage, folder: Path) -> None:
    first = storage.scratch("job_1.render_1", 1)
    with first.open("wb") as still_open:
        still_open.write(CONTENT[:100])
        still_open.flush()
        second = storage.scratch("job_1.render_1", 2)
        assert second.read_bytes() == CONTENT[:100]
        with second.open("ab") as file:
            file.write(CONTENT[100:])
        storage.adopt(second, SHA256)
        still_open.write(b"what a worker writes that was taken for dead")
    assert storage.path(SHA256).read_bytes() == CONTENT
    assert files(folder) == [SHA256]
    assert not storage.scratch("job_1.render_2", 1).exists()  # another export is another file


def test_a_content_that_is_adopted_from_itself_leaves_no_second_name(storage: Storage, folder: Path) -> None:
    storage.put([CONTENT])
    part = storage.scratch("job_2.render_1", 1)
    os.link(storage.path(SHA256), part)
    storage.adopt(part, SHA256)
    assert files(folder) == [SHA256]


def test_only_what_was_put_long_ago_is_discarded(storage: Storage, folder: Path) -> None:
    before = time.time() - LATELY
    storage.put([CONTENT])
    assert (list(storage.kept_before(before)), storage.discard(SHA256, before)) == ([], False)
    age(storage.path(SHA256))
    assert list(storage.kept_before(before)) == [SHA256]
    assert [storage.discard(SHA256, before) for _ in range(2)] == [True, False]
    assert files(folder) == []


def test_a_content_that_is_put_while_it_is_discarded_stays(
    storage: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def put_just_before(source: Path, place: Path) -> None:
        if place.name.endswith(".dropped"):
            os.utime(source)
        real(source, place)

    storage.put([CONTENT])
    age(storage.path(SHA256))
    monkeypatch.setattr(os, "replace", put_just_before)
    assert not storage.discard(SHA256, time.time() - LATELY)
    assert files(folder) == [SHA256]


def test_what_was_dropped_by_one_who_died_goes_back_if_it_is_new_and_goes_if_it_is_old(
    storage: Storage, folder: Path
) -> None:
    storage.put([CONTENT])
    aside = folder / "incoming" / f"{SHA256}.dropped"
    storage.path(SHA256).rename(aside)
    storage.sweep(time.time() - LATELY)
    assert storage.stat(SHA256)
    age(storage.path(SHA256).rename(aside))
    storage.sweep(time.time() - LATELY)
    assert files(folder) == []


def test_the_storage_is_one_database_s(storage: Storage) -> None:
    assert storage.is_of("postgresql://here/reelq")
    assert storage.is_of("postgresql://here/reelq")
    assert not storage.is_of("sqlite:///play.db")
