"""A worker is killed whenever a row that came over HTTP touches the storage; nothing is lost, and nothing is half."""

import hashlib
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from reelq import manifest, skills
from reelq.job import Status
from reelq.manifest.uploads import Given, UploadedFiles
from reelq.media import is_whole_mp4
from reelq.storage import Storage
from reelq.store import accounts, submissions
from reelq.store.orders import Order
from tests.queue.farm import KINDS, Farm
from tests.queue.killing_ground import PATIENCE, SERVICE, Ground, Story
from tests.queue.sizes import PROVING
from tests.sandbox_process import SandboxProcess

COVERING: Final = (
    "upload: after upload",
    "download: after download",
    "download: before replace",
    "download: after replace",
    "download: after writing jobs.status=succeeded",
)
ALL: Final = (
    "upload: before upload",
    "download: after writing jobs.status=running",
    "download: before download",
    "download: before writing jobs.status=succeeded",
    *COVERING,
)
MOMENTS: Final = ALL if PROVING else COVERING
pytestmark = pytest.mark.timeout(300)


class Stored(Ground):
    """Where rows name what is in storage, and their results go there."""

    def submit(self, made: Farm, text: str) -> str:
        kept = Storage.of(made.settings).put([self._clip.read_bytes()])
        files = UploadedFiles({"beach.mp4": Given(kept.sha256, kept.size, "beach.mp4", lambda: self._clip)}, {})
        told = f"file,instruction\nbeach.mp4,{text}\n".encode()
        checked = manifest.check(told, name="jobs.csv", files=files, skills=skills.load())
        account = accounts.account_for(made.store, made.vault(), made.settings, home=made.folder)
        order = Order("ann", "jobs", Path(), Path(), checked.rows_or_raise(), checked.columns, inputs=files.inputs)
        service = made.settings.nemo_api_url
        return submissions.submit(made.store, order, service=service, account_id=account).batch_id

    def after(self, number: int, moment: str) -> tuple[Story, list[Path], list[str]]:
        """The story of a row that lost its worker then; what is in storage, and what lies aside, when it is over."""
        story = Story(moment, f"Add a title that says Take {number}")
        with self._deployment(f"{number}") as made:
            batch = self.submit(made, story.text)
            story.exitcode = self._lose_worker(made, batch, moment)
            story.broken_at_kill = _broken(made)
            successor = self._worker(made)
            try:
                made.ended(batch, PATIENCE)
            finally:
                successor.kill()
                successor.wait()
            (story.job,) = made.jobs(batch)
            story.sends = made.sends()
            assert _broken(made) == []
            return story, _contents(made), [path.name for path in _below(made).glob("incoming/*")]


def _below(made: Farm) -> Path:
    return made.settings.reelq_data_dir / "storage"


def _contents(made: Farm) -> list[Path]:
    return list(_below(made).glob("??/*"))


def _broken(made: Farm) -> list[str]:
    return [path.name for path in _contents(made) if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]


@pytest.fixture(scope="module")
def trial(
    tmp_path_factory: pytest.TempPathFactory, clip: Path
) -> Iterator[dict[str, tuple[Story, list[Path], list[str]]]]:
    options: dict[str, Any] = {"no_latency": True, "credits": 100_000, "keep_alive": 0.2, "clients_per_address": 1000}
    with SandboxProcess.start(faults=SERVICE, **options) as service:
        ground = Stored(KINDS[0], tmp_path_factory.mktemp("stored"), service, clip)
        with ThreadPoolExecutor(len(MOMENTS)) as pool:
            yield dict(zip(MOMENTS, pool.map(ground.after, range(len(MOMENTS)), MOMENTS), strict=True))


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_result_is_in_storage_once_and_whole_and_nothing_is_sent_twice(
    trial: dict[str, tuple[Story, list[Path], list[str]]], moment: str
) -> None:
    story, contents, aside = trial[moment]
    assert story.exitcode in {-signal.SIGKILL, 255}  # the moment came
    assert story.broken_at_kill == []
    assert story.job.status is Status.SUCCEEDED
    assert {path.name for path in contents} == {*story.job.inputs, story.job.result_sha256}
    (result,) = (path for path in contents if path.name == story.job.result_sha256)
    assert is_whole_mp4(result)
    assert result.stat().st_size == story.job.result_size
    assert [send.why for send in story.sends][:1] == ["instruction"]
    assert len([send for send in story.sends if send.why == "instruction"]) == 1
    assert aside == []
