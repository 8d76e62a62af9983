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


def duration_of(tmp_path: Path, *boxes: bytes) -> float | None:
    path = tmp_path / "made.mp4"
    path.write_bytes(b"".join(boxes))
    return media.duration(path)


@pytest.mark.parametrize("version", [0, 1])
def test_both_versions_of_the_movie_header_are_read(tmp_path: Path, version: int) -> None:
    assert duration_of(tmp_path, box(b"moov", movie_header(600, 1500, version=version))) == 2.5


def test_boxes_with_64_bit_sizes_are_passed_over(tmp_path: Path) -> None:
    boxes = box(b"mdat", b"moov" * 9, wide=True), box(b"moov", movie_header(600, 1500), wide=True)
    assert duration_of(tmp_path, *boxes) == 2.5


def test_a_last_box_without_a_size_goes_on_to_the_end(tmp_path: Path) -> None:
    header = movie_header(600, 1500)
    assert duration_of(tmp_path, box(b"ftyp", b"isom"), struct.pack(">I4s", 0, b"moov") + header) == 2.5


def test_media_data_is_skipped_and_never_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.mp4"
    gap = 3 * 1024**3  # a hole on the disk: reading it would take seconds, and its length of memory
    with path.open("wb") as file:
        file.write(struct.pack(">I4sQ", 1, b"mdat", 16 + gap))
        file.seek(gap, os.SEEK_CUR)
        file.write(box(b"moov", movie_header(1000, 4000)))
    assert media.duration(path) == 4


@pytest.mark.parametrize(
    "header",
    [movie_header(0, 1500), movie_header(600, 0), movie_header(600, 2**32 - 1), movie_header(1, 2**64 - 1, version=1)],
    ids=["no time scale", "no length", "unknown length", "unknown 64-bit length"],
)
def test_a_header_that_states_no_length_gives_none(tmp_path: Path, header: bytes) -> None:
    assert duration_of(tmp_path, box(b"moov", header)) is None


def test_a_box_smaller_than_its_own_head_ends_the_search(tmp_path: Path) -> None:
    header = struct.pack(">I", 3) + movie_header(600, 1500)[4:]
    assert duration_of(tmp_path, box(b"moov", header)) is None


def test_millions_of_empty_boxes_do_not_keep_us(tmp_path: Path) -> None:
    path = tmp_path / "boxes.mp4"
    path.write_bytes(box(b"free", b"") * 2_000 + box(b"moov", movie_header(600, 1500)))
    assert media.duration(path) is None


def test_what_is_no_file_has_no_length(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    assert media.duration(tmp_path / "folder.mp4") is None
    assert media.duration(tmp_path / "nowhere.mp4") is None


@given(content=st.binary(max_size=200))
def test_no_bytes_whatever_make_it_raise(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    path.write_bytes(content)
    seconds = media.duration(path)
    assert seconds is None or seconds > 0


@given(data=st.data())
def test_a_damaged_clip_gives_a_length_or_none(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = bytearray(box(b"ftyp", b"isom") + box(b"moov", movie_header(600, 1500)) + box(b"mdat", b"data"))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.mp4"
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    seconds = media.duration(path)
    assert seconds is None or seconds > 0


def test_the_kind_is_told_by_the_extension_whatever_its_case() -> None:
    assert media.kind_of("a/Beach.MP4") is Kind.VIDEO
    assert media.kind_of("face.JPeG") is Kind.IMAGE
    assert media.kind_of("song.m4a") is Kind.AUDIO
    assert media.kind_of("notes.txt") is None
    assert media.kind_of("a.mp4/notes") is None


def test_no_file_is_refused_that_the_service_might_take() -> None:
    assert media.MAX_BYTES >= 500 * 1000 * 1000
    assert media.MAX_BYTES == 524_288_000


@pytest.mark.parametrize(
    ("name", "head", "found"),
    [
        ("a.mp4", b"\0\0\0\x18ftypmp42", ""),
        ("a.MOV", b"\0\0\0\x08wide", ""),
        ("a.m4a", b"\0\0\0\x18ftypM4A ", ""),
        ("a.jpeg", b"\xff\xd8\xff\xe0", ""),
        ("a.mp3", b"\xff\xfb\x90\x00", ""),
        ("a.aac", b"\xff\xf1\x50\x80", ""),
        ("a.mp4", b"\0" * 600, ""),  # nobody knows
        ("a.mp4", b"", ""),
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
    assert media.not_as_named(name, head) == found
