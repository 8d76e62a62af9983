"""The storage: a content is there whole under its hash or not at all, whoever dies over it."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from reelq.storage import GRACE_SECONDS, Storage, Stored, hash_of

CONTENT = b"a video" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LONG_AGO = time.time() - 3 * GRACE_SECONDS


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def age(path: Path) -> None:
    os.utime(path, (LONG_AGO, LONG_AGO))


def test_only_what_is_put_is_found_by_its_hash(storage: Storage, tmp_path: Path) -> None:
    assert storage.stat(SHA256) is None
    for ask in (storage.open, storage.path):
        with pytest.raises(FileNotFoundError, match="not in the storage"):
            ask(SHA256)
    assert storage.put([CONTENT[:10], CONTENT[10:]]) == storage.stat(SHA256) == Stored(SHA256, len(CONTENT))
    with storage.open(SHA256) as file:
        assert file.read() == storage.path(SHA256).read_bytes() == CONTENT
    assert files(tmp_path) == [SHA256]


def test_what_is_no_hash_is_no_path_either(storage: Storage) -> None:
    for name in ("", "..", "../../etc/passwd", SHA256.upper(), SHA256[1:], f"{SHA256}\n", f"/{SHA256}"):
        with pytest.raises(ValueError, match="not a SHA-256"):
            storage.path(name)
        assert hash_of(f"sha256:{name}") == ""
    assert hash_of(f"sha256:{SHA256}") == SHA256
    assert hash_of(SHA256) == ""


def test_one_content_is_kept_once_and_the_newer_copy_mends_the_older(storage: Storage, tmp_path: Path) -> None:
    storage.put([CONTENT])
    storage.path(SHA256).write_bytes(b"damaged")
    storage.put([CONTENT])
    assert files(tmp_path) == [SHA256]
    assert storage.path(SHA256).read_bytes() == CONTENT


def test_a_later_run_goes_on_from_a_copy_of_what_an_earlier_one_left(storage: Storage, tmp_path: Path) -> None:
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
    assert files(tmp_path) == [SHA256]
    assert not storage.scratch("job_1.render_2", 1).exists()  # another export is another file


def test_a_content_that_is_adopted_from_itself_leaves_no_second_name(storage: Storage, tmp_path: Path) -> None:
    storage.put([CONTENT])
    part = storage.scratch("job_2.render_1", 1)
    os.link(storage.path(SHA256), part)
    storage.adopt(part, SHA256)
    assert files(tmp_path) == [SHA256]


def test_only_what_was_put_long_ago_is_discarded(storage: Storage, tmp_path: Path) -> None:
    before = time.time() - GRACE_SECONDS
    storage.put([CONTENT])
    assert (list(storage.kept_before(before)), storage.discard(SHA256, before)) == ([], False)
    age(storage.path(SHA256))
    assert list(storage.kept_before(before)) == [SHA256]
    assert [storage.discard(SHA256, before) for _ in range(2)] == [True, False]
    assert files(tmp_path) == []


def test_a_content_that_is_put_while_it_is_discarded_stays(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def put_just_before(source: Path, place: Path) -> None:
        if place.name.endswith(".dropped"):
            os.utime(source)
        real(source, place)

    storage.put([CONTENT])
    age(storage.path(SHA256))
    monkeypatch.setattr(os, "replace", put_just_before)
    assert not storage.discard(SHA256, time.time() - GRACE_SECONDS)
    assert files(tmp_path) == [SHA256]


def test_what_was_dropped_by_one_who_died_goes_back_if_it_is_new_and_goes_if_it_is_old(
    storage: Storage, tmp_path: Path
) -> None:
    storage.put([CONTENT])
    aside = tmp_path / "incoming" / f"{SHA256}.dropped"
    storage.path(SHA256).rename(aside)
    storage.sweep(time.time() - GRACE_SECONDS)
    assert storage.stat(SHA256)
    age(storage.path(SHA256).rename(aside))
    storage.sweep(time.time() - GRACE_SECONDS)
    assert files(tmp_path) == []
