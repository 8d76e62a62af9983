"""A worker is killed whenever a row that came over HTTP touches the storage; nothing is lost, and nothing is half."""

import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from reelq import skills
from reelq.job import Status
from reelq.manifest import checks
from reelq.manifest.inputs import UploadedFile, UploadedFiles
from reelq.media import is_whole_mp4
from reelq.storage import Storage
from reelq.store.billing import accounts
from reelq.store.submission import submitter
from reelq.store.submission.request import Submission
from tests.queue.farm import CLIP, KINDS, Farm
from tests.queue.killing_ground import Ground, Story
from tests.queue.sizes import PROVING

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
        kept = Storage.of(made.settings).put([CLIP.read_bytes()])
        files = UploadedFiles({"beach.mp4": UploadedFile(kept.sha256, kept.size, "beach.mp4", lambda: CLIP)}, {})
        told = f"file,instruction\nbeach.mp4,{text}\n".encode()
        checked = checks.check(told, name="jobs.csv", files=files, skills=skills.load())
        account = accounts.account_for(made.store, made.vault(), made.settings, home=made.folder)
        order = Submission("ann", "jobs", Path(), Path(), checked.rows_or_raise(), checked.columns, inputs=files.inputs)
        service = made.settings.nemo_api_url
        return submitter.submit(made.store, order, service=service, account_id=account).batch_id

    def files(self, made: Farm) -> list[Path]:
        """What is in storage, and what lies aside there."""
        storage = made.settings.reelq_data_dir / "storage"
        return [*storage.glob("??/*"), *storage.glob("incoming/*")]

    def broken(self, made: Farm) -> list[str]:
        kept = (path for path in self.files(made) if path.parent.name != "incoming")
        return [path.name for path in kept if sha256(path.read_bytes()).hexdigest() != path.name]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Story]]:
    with Ground.service() as service:
        yield Stored(KINDS[0], tmp_path_factory.mktemp("stored"), service).stories(MOMENTS, len(MOMENTS))


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_result_is_in_storage_once_and_whole_and_nothing_is_sent_twice(
    trial: dict[str, Story], moment: str
) -> None:
    story = trial[moment]
    assert story.exitcode in {-signal.SIGKILL, 255}  # the moment came
    assert story.broken_at_kill == []
    assert story.job.status is Status.SUCCEEDED
    assert story.files.keys() == {*story.job.inputs, story.job.result_sha256}  # and nothing lies aside
    assert all(sha256(path.read_bytes()).hexdigest() == name for name, path in story.files.items())
    result = story.files[story.job.result_sha256]
    assert is_whole_mp4(result)
    assert result.stat().st_size == story.job.result_size
    assert [send.why for send in story.sends][:1] == ["instruction"]
    assert len([send for send in story.sends if send.why == "instruction"]) == 1
