"""What a media file is and how long it plays, told from real files and from broken ones."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq import media
from reelq.media import Kind


def box(kind: bytes, content: bytes, *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), kind) + content


def movie_header(scale: int, ticks: int, *, version: int = 0) -> bytes:
    times = struct.pack(">QQIQ" if version else ">IIII", 1, 2, scale, ticks)
    return box(b"mvhd", struct.pack(">I", version << 24) + times + bytes(80))


HEADER = movie_header(600, 1500)


@pytest.mark.parametrize(
    ("boxes", "seconds"),
    [
        ([box(b"moov", HEADER)], 2.5),
        ([box(b"moov", movie_header(600, 1500, version=1))], 2.5),
        ([box(b"mdat", b"moov" * 9, wide=True), box(b"moov", HEADER, wide=True)], 2.5),
        ([box(b"ftyp", b"isom"), struct.pack(">I4s", 0, b"moov"), HEADER], 2.5),  # it goes on to the end
        ([box(b"moov", movie_header(0, 1500))], None),
        ([box(b"moov", movie_header(600, 0))], None),
        ([box(b"moov", movie_header(600, 2**32 - 1))], None),  # which means unknown
        ([box(b"moov", movie_header(1, 2**64 - 1, version=1))], None),
        ([box(b"moov", struct.pack(">I", 3) + HEADER[4:])], None),  # a box smaller than its own head
        ([box(b"free", b"")] * 2_000 + [box(b"moov", HEADER)], None),  # millions of them would keep us
    ],
)
def test_the_length_of_a_clip_is_what_its_movie_header_states(
    tmp_path: Path, boxes: list[bytes], seconds: float | None
) -> None:
    (tmp_path / "made.mp4").write_bytes(b"".join(boxes))
    assert media.duration(tmp_path / "made.mp4") == seconds


def test_media_data_is_skipped_and_never_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.mp4"
    gap = 3 * 1024**3  # a hole on the disk: reading it would take seconds, and its length of memory
    with path.open("wb") as file:
        file.write(struct.pack(">I4sQ", 1, b"mdat", 16 + gap))
        file.seek(gap, os.SEEK_CUR)
        file.write(box(b"moov", movie_header(1000, 4000)))
    assert media.duration(path) == 4


def test_what_is_no_file_has_no_length(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    assert media.duration(tmp_path / "folder.mp4") is None
    assert media.duration(tmp_path / "nowhere.mp4") is None


@given(data=st.data())
def test_any_bytes_and_a_damaged_clip_give_a_length_or_none(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = bytearray(box(b"ftyp", b"isom") + box(b"moov", HEADER) + box(b"mdat", b"data"))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    path = tmp_path_factory.getbasetemp() / "damaged.mp4"
    for content in (damaged, data.draw(st.binary(max_size=200))):
        path.write_bytes(content)
        seconds = media.duration(path)
        assert seconds is None or seconds > 0


def test_the_kind_is_told_by_the_extension_whatever_its_case() -> None:
    kinds = {"a/Beach.MP4": Kind.VIDEO, "face.JPeG": Kind.IMAGE, "song.m4a": Kind.AUDIO}
    others = dict.fromkeys(["notes.txt", "a.mp4/notes"])
    assert {name: media.kind_of(name) for name in kinds | others} == kinds | others


def test_no_file_is_refused_that_the_service_might_take() -> None:
    assert media.MAX_BYTES == 524_288_000 >= 500 * 1000 * 1000


@pytest.mark.parametrize(
    ("name", "head", "found"),
    [
        *(("a.mp4", head, "") for head in (b"\0\0\0\x18ftypmp42", b"", b"\0" * 600)),  # of zeros nobody knows
        *(("a.MOV", b"\0\0\0\x08wide", ""), ("a.m4a", b"\0\0\0\x18ftypM4A ", ""), ("a.jpeg", b"\xff\xd8\xff\xe0", "")),
        *(("a.mp3", b"\xff\xfb\x90\x00", ""), ("a.aac", b"\xff\xf1\x50\x80", "")),
        ("a.png", b"\0\0\0\x18ftypmp42", "an MP4 or MOV file"),
        ("a.mp4", b"\x1a\x45\xdf\xa3", "a WebM or MKV file"),
        ("a.webp", b"RIFF\0\0\0\0WAVE", "a WAV file"),
        ("a.mp4", b"PK\x03\x04", "an archive"),
        ("a.mp4", b"<!DOCTYPE html><html><head><title>", "plain text"),
        ("a.mp4", b"#!/bin/sh", "a program"),
    ],
)
def test_a_file_that_evidently_is_not_what_it_is_called_is_told_by_its_first_bytes(
    name: str, head: bytes, found: str
) -> None:
    assert media.mismatched_type(name, head) == found
