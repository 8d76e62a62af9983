"""A finished file comes to disk whole or not at all, and goes on where an earlier try stopped."""

import gzip
import hashlib
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from reelq import errors, media
from reelq.nemo.client import Remote
from tests.contract.scripted_service import PATIENT, Meet, reply
from tests.contract.test_client import finished
from tests.sandbox_process import SandboxProcess

RENDER = "render_download"


@pytest.fixture
def url(remote: Remote, clip: Path) -> str:
    """The address of a finished export."""
    session = remote.open_session()
    remote.upload(session.session_id, [clip])
    remote.send(session.session_id, "Add a title that says 'Done'", PATIENT)
    return finished(remote, session, RENDER).url


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "result.mp4.part"


@pytest.fixture
def whole(url: str) -> bytes:
    return httpx.get(url, trust_env=False).content


def test_a_file_arrives_whole_goes_on_where_it_stopped_and_is_only_checked_where_it_is_there_already(
    remote: Remote, url: str, part: Path, whole: bytes
) -> None:
    seen: list[int] = []
    receipt = remote.download(url, RENDER, part, seen.append)
    assert part.read_bytes() == whole
    assert receipt.size == seen[-1] == len(whole)
    assert receipt.sha256 == hashlib.sha256(whole).hexdigest()
    assert media.is_whole_mp4(part)
    part.write_bytes(whole[:1000])
    seen.clear()
    assert remote.download(url, RENDER, part, seen.append) == receipt
    assert seen[0] > 1000
    seen.clear()
    assert remote.download(url, RENDER, part, seen.append) == receipt
    assert seen == []


def test_a_service_without_ranges_starts_over(
    remote: Remote, url: str, part: Path, whole: bytes, sandbox: SandboxProcess
) -> None:
    sandbox.faults(download_no_ranges=1)
    part.write_bytes(b"x" * 500)
    remote.download(url, RENDER, part)
    assert part.read_bytes() == whole


def test_a_cut_download_keeps_what_it_has_and_goes_on_by_the_other_address(
    remote: Remote, url: str, part: Path, whole: bytes, sandbox: SandboxProcess
) -> None:
    sandbox.faults(download_cut={"count": 2})
    with pytest.raises(errors.ConnectionLost):
        remote.download(url, RENDER, part)
    assert 0 < part.stat().st_size < len(whole)
    assert whole.startswith(part.read_bytes())
    sandbox.faults(download_cut={"count": 1})
    seen: list[int] = []
    remote.download(url, RENDER, part, seen.append)
    assert part.read_bytes() == whole
    assert all(before < after for before, after in pairwise(seen))


def test_an_address_that_leads_nowhere_gives_way_to_the_services_own(
    remote: Remote, url: str, part: Path, whole: bytes, sandbox: SandboxProcess
) -> None:
    sandbox.faults(result_unreachable=1)
    unreachable = remote.progress(RENDER).url
    assert unreachable != url
    for bad in (unreachable, "ftp://x/y", "http://[bad", "http://" + "a" * 80 + ".x/", "::"):
        remote.download(bad, RENDER, part)
        assert part.read_bytes() == whole
        part.unlink()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("download_short", errors.BrokenDownload),
        ("download_corrupted", errors.BrokenDownload),
        ("result_missing", errors.ResultMissing),
        ("bad_gateway", errors.ServerTrouble),
    ],
)
def test_what_is_short_corrupted_missing_or_an_error_page_is_no_result(
    fault: str, kind: type[errors.RemoteError], remote: Remote, url: str, part: Path, sandbox: SandboxProcess
) -> None:
    sandbox.faults(**{fault: 1})
    with pytest.raises(kind):
        remote.download(url, RENDER, part)
    assert not part.exists()


def _video(content: bytes, status: str = "200 OK", **headers: str) -> bytes:
    return reply(status, content, Content_Type="video/mp4", **headers)


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-9/10", "bytes 1000-1009/2000", "bytes 900-999/*", "bytes */10", "", f"bytes {'9' * 5000}-1/1"],
)
def test_a_range_that_does_not_fit_is_no_result(content_range: str, meet: Meet, part: Path, clip: Path) -> None:
    whole = clip.read_bytes()
    part.write_bytes(whole[:1000])
    with pytest.raises(errors.BrokenDownload):
        meet(_video(whole[1000:], "206 Partial Content", Content_Range=content_range))[0].download("", RENDER, part)
    assert not part.exists()


def test_a_refused_range_does_not_make_a_part_whole(meet: Meet, part: Path, clip: Path) -> None:
    for told in ("", "bytes */10"):  # no length, and another one
        part.write_bytes(clip.read_bytes())
        answer = reply("416 Range Not Satisfiable", Content_Range=told)
        with pytest.raises(errors.BrokenDownload, match="were already on disk"):
            meet(answer)[0].download("", RENDER, part)
        assert not part.exists()


@pytest.mark.parametrize("start", [0, 1000])
def test_a_range_goes_on_or_starts_over_whether_or_not_the_whole_is_told(
    start: int, meet: Meet, part: Path, clip: Path
) -> None:
    whole = clip.read_bytes()
    for total in ("*", str(len(whole))):
        part.write_bytes(whole[:start].ljust(1000, b"x"))
        told = f"bytes {start}-{len(whole) - 1}/{total}"
        answer = _video(whole[start:], "206 Partial Content", Content_Range=told)
        assert meet(answer)[0].download("", RENDER, part).size == len(whole)
        assert part.read_bytes() == whole


def test_a_file_that_comes_packed_is_unpacked(meet: Meet, part: Path, clip: Path) -> None:
    remote, _ = meet(_video(gzip.compress(clip.read_bytes()), Content_Encoding="gzip"))
    remote.download("", RENDER, part)
    assert part.read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("answer", [reply("416 Range Not Satisfiable"), _video(b"x" * 10)])
def test_a_folder_in_a_files_place_or_a_file_in_a_folders_is_told_in_words(
    answer: bytes, meet: Meet, part: Path, clip: Path
) -> None:
    part.mkdir()
    for bad in (part, clip / part.name):
        with pytest.raises(errors.CannotWrite, match=r"result\.mp4\.part"):
            meet(answer)[0].download("", RENDER, bad)


def test_a_full_disk_is_told_in_words_and_asks_no_second_address(meet: Meet, part: Path) -> None:
    part.symlink_to("/dev/full")
    remote, _ = meet(_video(b"x" * 100_000))
    with pytest.raises(errors.CannotWrite, match="No space left"):
        remote.download("/x.mp4", RENDER, part)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("503 Service Unavailable", "404 Not Found", errors.ServerTrouble),
        ("503 Service Unavailable", "405 Method Not Allowed", errors.ServerTrouble),
        ("503 Service Unavailable", "429 Too Many Requests", errors.RateLimited),
        ("418 I am a teapot", "404 Not Found", errors.ResultMissing),
    ],
)
def test_a_second_address_that_the_service_lacks_hides_no_passing_fault(
    first: str, second: str, kind: type[errors.RemoteError], meet: Meet, part: Path
) -> None:
    with pytest.raises(kind):
        meet(reply(first), reply(second))[0].download("/x.mp4", RENDER, part)
