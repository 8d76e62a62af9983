"""Assets: streamed in, kept once per content, and known to nobody but who has uploaded them."""

import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reelq import media
from tests.acceptance.running import until
from tests.api.serving import Served, kept, rough, status

MP4 = b"\0\0\0\x18ftypmp42" + bytes(100)


def upload(client: httpx.Client, content: bytes = MP4, name: str = "beach.mp4") -> httpx.Response:
    return client.post("/v1/assets", params={"name": name}, content=content)


def test_a_file_is_kept_under_its_hash_and_told_by_its_name(ann: httpx.Client, clip: Path, served: Served) -> None:
    sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
    made = upload(ann, clip.read_bytes(), "strand am Meer 海滩.mp4")
    assert made.status_code == 201
    assert made.headers["location"] == f"/v1/assets/sha256:{sha256}"
    told = made.json()
    assert told.pop("created_at").endswith("Z")
    known = {"id": f"sha256:{sha256}", "sha256": sha256, "size": clip.stat().st_size, "kind": "video"}
    assert told == known | {"name": "strand am Meer 海滩.mp4"}
    assert ann.get(made.headers["location"]).json() == made.json()
    head = ann.head(made.headers["location"])
    assert (head.status_code, head.content) == (200, b"")
    assert [path.name for path in kept(served)] == [sha256]


def test_a_file_that_comes_again_is_the_one_that_was_there(ann: httpx.Client, served: Served) -> None:
    first = upload(ann).json()
    again = upload(ann, name="other.mp4")
    assert (again.status_code, again.json()) == (200, first)
    assert len(kept(served)) == 1


REFUSED = (
    ("notes.txt", MP4, (415, "type_not_accepted")),
    ("beach", MP4, (415, "type_not_accepted")),
    ("beach.png", MP4, (415, "type_not_accepted")),
    ("beach.mp4", b"%PDF-1.7" + bytes(900), (415, "type_not_accepted")),
    ("beach.mp4", b"only words, and nothing that would play", (415, "type_not_accepted")),
    ("beach.mp4", b"", (422, "empty_file")),
)


def test_what_the_service_would_not_take_is_refused_and_not_kept(ann: httpx.Client, served: Served) -> None:
    for name, content, wanted in REFUSED:
        refused = upload(ann, content, name)
        assert (refused.status_code, refused.json()["code"]) == wanted
        assert refused.headers["content-type"] == "application/problem+json"
        assert kept(served) == []


def test_a_file_that_is_announced_as_too_large_is_refused_before_it_comes(served: Served) -> None:
    size = media.MAX_BYTES + 1
    with rough(served, "ann", "POST /v1/assets?name=a.mp4", f"Content-Length: {size}") as line:
        assert status(line) == 413
    assert kept(served) == []


def test_a_file_that_turns_out_too_large_is_refused_while_it_comes(
    ann: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "MAX_BYTES", 3_000_000)

    sent = []

    def endless() -> Iterator[bytes]:
        yield MP4
        while True:
            sent.append(100_000)
            yield bytes(100_000)

    refused = ann.post("/v1/assets", params={"name": "a.mp4"}, content=endless())
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")
    assert sum(sent) < 30_000_000
    assert kept(served) == []


@pytest.mark.parametrize("header", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_an_upload_that_breaks_off_leaves_nothing_behind(served: Served, header: str) -> None:
    piece = MP4 + bytes(300_000 - len(MP4))
    began = b"493e0\r\n" + piece if "chunked" in header else piece
    with rough(served, "ann", "POST /v1/assets?name=a.mp4", header) as line:
        line.sendall(began)
        until(lambda: len(kept(served)) == 1, "a part is there")
    until(lambda: kept(served) == [], "nothing is left")
    assert served.client("ann").get(f"/v1/assets/sha256:{hashlib.sha256(piece).hexdigest()}").status_code == 404


def test_a_full_disk_is_told_and_nothing_is_left(ann: httpx.Client, served: Served) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, before[1]))
    try:
        refused = upload(ann, MP4 + bytes(21_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (refused.status_code, refused.json()["code"]) == (507, "cannot_write")
    assert kept(served) == []
    assert upload(ann, MP4 + bytes(21_000_000)).status_code == 201
