"""A finished file comes to disk whole or not at all, and goes on where an earlier try stopped."""

import hashlib
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from reelq import errors, media
from reelq.remote.auth import FreeTokens
from reelq.remote.client import Remote, ask_for_token, open_http
from reelq.settings import Settings
from tests.contract.test_client import PATIENT, finished
from tests.sandbox_process import ATTRIBUTION, SandboxProcess

RENDER = "render_download"


@pytest.fixture
def http(sandbox: SandboxProcess) -> Iterator[httpx.Client]:
    with open_http(Settings(nemo_api_url=sandbox.url)) as client:
        yield client


@pytest.fixture
def remote(http: httpx.Client) -> Remote:
    return Remote(http, FreeTokens(lambda: ask_for_token(http, str(uuid.uuid4()), ATTRIBUTION)), ATTRIBUTION)


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


def test_a_file_arrives_whole_with_its_size_and_hash(remote: Remote, url: str, part: Path, whole: bytes) -> None:
    seen: list[int] = []
    receipt = remote.download(url, RENDER, part, seen.append)
    assert part.read_bytes() == whole
    assert receipt.size == seen[-1] == len(whole)
    assert receipt.sha256 == hashlib.sha256(whole).hexdigest()
    assert media.is_whole_mp4(part)


def test_a_download_goes_on_where_it_stopped(remote: Remote, url: str, part: Path, whole: bytes) -> None:
    part.write_bytes(whole[:1000])
    seen: list[int] = []
    remote.download(url, RENDER, part, seen.append)
    assert part.read_bytes() == whole
    assert seen[0] > 1000


def test_a_part_that_is_complete_already_is_only_checked(remote: Remote, url: str, part: Path, whole: bytes) -> None:
    part.write_bytes(whole)
    seen: list[int] = []
    assert remote.download(url, RENDER, part, seen.append).size == len(whole)
    assert seen == []


def test_a_part_of_something_longer_is_thrown_away(
    remote: Remote, url: str, part: Path, whole: bytes, sandbox: SandboxProcess
) -> None:
    part.write_bytes(whole + b"more")
    with pytest.raises(errors.BrokenDownload):
        remote.download("", RENDER, part)
    assert not part.exists()


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
    sandbox.faults(download_cut={"count": 1})
    seen: list[int] = []
    remote.download(url, RENDER, part, seen.append)
    assert part.read_bytes() == whole
    assert all(before < after for before, after in pairwise(seen))


def test_a_download_that_is_cut_everywhere_keeps_its_beginning(
    remote: Remote, url: str, part: Path, whole: bytes, sandbox: SandboxProcess
) -> None:
    sandbox.faults(download_cut={"count": 2})
    with pytest.raises(errors.ConnectionLost):
        remote.download(url, RENDER, part)
    assert 0 < part.stat().st_size < len(whole)
    assert whole.startswith(part.read_bytes())
    assert remote.download(url, RENDER, part).size == len(whole)


def test_a_file_that_is_too_short_is_no_result(remote: Remote, url: str, part: Path, sandbox: SandboxProcess) -> None:
    sandbox.faults(download_short=1)
    with pytest.raises(errors.BrokenDownload):
        remote.download(url, RENDER, part)
    assert not part.exists()


@pytest.mark.parametrize(
    "bad", ["http://127.0.0.1:1/x.mp4", "ftp://x/y", "http://[bad", "http://" + "a" * 80 + ".x/", "::"]
)
def test_an_address_that_leads_nowhere_gives_way_to_the_services_own(
    bad: str, remote: Remote, url: str, part: Path, whole: bytes
) -> None:
    remote.download(bad, RENDER, part)
    assert part.read_bytes() == whole


def test_a_result_that_is_not_there_is_told(remote: Remote, url: str, part: Path, sandbox: SandboxProcess) -> None:
    sandbox.faults(result_missing=1)
    with pytest.raises(errors.ResultMissing):
        remote.download(url, RENDER, part)


@pytest.mark.parametrize(
    ("fault", "kind"), [("bad_gateway", errors.ServerTrouble), ("unavailable", errors.ServerTrouble)]
)
def test_an_error_page_is_never_taken_for_a_video(
    fault: str, kind: type[errors.RemoteError], remote: Remote, url: str, part: Path, sandbox: SandboxProcess
) -> None:
    sandbox.faults(**{fault: {"rate": 1, "on": ["cdn", "download"]}})
    with pytest.raises(kind):
        remote.download(url, RENDER, part)
    assert not part.exists()


def test_a_folder_that_can_not_be_written_is_told_in_words(remote: Remote, url: str, tmp_path: Path) -> None:
    with pytest.raises(errors.CannotWrite, match=r"result\.mp4\.part"):
        remote.download(url, RENDER, tmp_path / "nowhere" / "result.mp4.part")


def test_the_token_goes_to_the_service_and_not_to_a_results_host(
    remote: Remote, url: str, part: Path, sandbox: SandboxProcess
) -> None:
    remote.download(url, RENDER, part)
    assert sandbox.ledger()["tokens_at_cdn"] == 0
