"""A batch that came over HTTP, run by a real worker against the sandbox; its videos, and ranges of their bytes."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.deps import Service
from reelq.media import is_whole_mp4
from reelq.storage import Storage
from reelq.store.db.models import Job
from tests.api.serving import Served, serving
from tests.queue.farm import KINDS, Farm, farm


@dataclass(frozen=True, slots=True)
class Ran:
    """A deployment whose worker has run a batch: a clip and a photo, an edit again, and nothing but a credits' look."""

    made: Farm
    served: Served
    ann: httpx.Client
    batch: str

    def job(self, row: int) -> Job:
        return self.made.jobs(self.batch)[row - 1]

    def output(self, row: int = 1, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ann.get(f"/v1/jobs/{self.job(row).id}/output", headers=named)

    @property
    def storage(self) -> Storage:
        return Storage.of(self.made.settings)


ROWS = """file,instruction,references,output
{clip},Trim to 1 s,face.jpg,
clips/beach.mp4,Add a title,,Strände/海滩.mp4
,credits,,
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("output")
    with (
        farm(KINDS[-1], folder, nemo_client_id="tests") as made,
        serving(Service(made.settings, made.store)) as served,
    ):
        ann = served.client("ann")
        asset = ann.post("/v1/assets", params={"name": "dawn.mp4"}, content=clip.read_bytes()).json()["id"]
        files: list[Any] = [
            ("manifest", ("m.csv", ROWS.format(clip=asset))),
            ("files", ("beach.mp4", clip.read_bytes() + b"\0\0\0\x08free")),
            ("files", ("face.jpg", b"\xff\xd8\xff" + bytes(500))),
        ]
        batch = ann.post("/v1/batches", files=files)
        assert batch.status_code == 201, batch.text
        made.start_worker()
        made.ended(batch.json()["id"], 60)
        yield Ran(made, served, ann, batch.json()["id"])


def test_its_rows_run_as_any_others_and_the_service_gets_each_file_under_its_own_name(ran: Ran) -> None:
    assert ran.made.ends(ran.batch) == {"succeeded": 3}
    sent = [up["filename"] for book in ran.made.sandbox.ledger()["sessions"].values() for up in book["uploads"]]
    assert sorted(sent) == ["beach.mp4", "dawn.mp4", "face.jpg"]
    names = {path.name for path in (ran.made.settings.reelq_data_dir / "storage").glob("??/*")}
    inputs = {one for job in ran.made.jobs(ran.batch) for one in job.inputs if one}
    assert names == inputs | {ran.job(row).result_sha256 for row in (1, 2)}


def test_the_video_comes_whole_with_its_name_and_hash(ran: Ran, tmp_path: Path) -> None:
    for row in (1, 2):
        got, job = ran.output(row), ran.job(row)
        (tmp_path / "got.mp4").write_bytes(got.content)
        assert is_whole_mp4(tmp_path / "got.mp4")
        assert hashlib.sha256(got.content).hexdigest() == job.result_sha256
        assert got.headers["etag"] == f'"{job.result_sha256}"'
        assert (got.headers["content-type"], got.headers["content-length"]) == ("video/mp4", str(job.result_size))
    assert ran.output(1).headers["content-disposition"] == 'attachment; filename="1-dawn.mp4"'
    named = "attachment; filename=\"__.mp4\"; filename*=UTF-8''%E6%B5%B7%E6%BB%A9.mp4"
    assert ran.output(2).headers["content-disposition"] == named
    head = ran.ann.head(ran.ann.get(f"/v1/jobs/{ran.job(1).id}").json()["result"]["href"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(ran.job(1).result_size))


def test_nothing_that_goes_out_tells_where_things_lie_on_the_server(ran: Ran) -> None:
    said = ran.ann.get(f"/v1/batches/{ran.batch}").text
    said += "".join(ran.ann.get(f"/v1/jobs/{job.id}").text for job in ran.made.jobs(ran.batch))
    said += ran.ann.get(f"/v1/batches/{ran.batch}/results.csv").text
    assert str(ran.made.folder) not in said
    assert "storage" not in json.dumps(said)


def test_a_range_brings_those_bytes_and_what_is_none_or_several_brings_all(ran: Ran) -> None:
    whole = ran.output().content
    for asked, part in (
        ("0-99", slice(0, 100)), ("100-", slice(100, None)), ("-50", slice(-50, None)), ("10-10", slice(10, 11)),
        ("5-99999999999", slice(5, None)), ("-99999999999", slice(0, None)),
    ):  # fmt: skip
        got, (first, last, _) = ran.output(Range=f"bytes={asked}"), part.indices(len(whole))
        assert (got.status_code, got.content) == (206, whole[part]), asked
        assert got.headers["content-range"] == f"bytes {first}-{last - 1}/{len(whole)}"
    for asked in ("bytes=5-1", "bytes=a-b", "bytes=0-1,5-9", "rows=1-2", "bytes=-", "bytes"):
        got = ran.output(Range=asked)
        assert (got.status_code, got.content == whole) == (200, True), asked


def test_bytes_that_are_not_there_are_refused(ran: Ran) -> None:
    size = ran.job(1).result_size
    for asked in (f"bytes={size}-", "bytes=-0"):
        refused = ran.output(Range=asked)
        assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{size}")
        assert refused.json()["code"] == "no_such_bytes"


def test_a_range_is_of_the_video_that_was_begun_with(ran: Ran) -> None:
    tag, modified = (ran.output().headers[name] for name in ("etag", "last-modified"))
    for meant in (tag, modified):
        assert ran.output(Range="bytes=0-9", If_Range=meant).status_code == 206
    assert ran.output(Range="bytes=0-9", If_Range='"another"').status_code == 200
    assert ran.output(If_None_Match=f'"x", {tag}').status_code == 304
    assert ran.output(If_None_Match='"x"').status_code == 200


def test_there_is_no_video_where_the_row_has_none(ran: Ran) -> None:
    none = ran.output(3)
    assert (none.status_code, none.json()["code"]) == (404, "no_result")


def test_a_video_that_is_gone_is_told_so_and_brought_again(ran: Ran) -> None:
    lost = ran.job(2)
    sends = len(ran.made.sends())
    ran.storage.path(lost.result_sha256).unlink()
    gone = ran.output(2)
    assert (gone.status_code, gone.json()["code"]) == (410, "result_gone")
    assert "retry" in gone.json()["advice"]
    assert ran.ann.head(f"/v1/jobs/{lost.id}/output").status_code == 410
    assert ran.ann.post(f"/v1/jobs/{lost.id}/retry").json()["done"] == 1
    ran.made.ended(ran.batch, 30)
    assert ran.output(2).status_code == 200
    assert len(ran.made.sends()) == sends


def test_of_a_batch_from_the_command_line_the_file_in_its_folder_goes_out(ran: Ran, clip: Path) -> None:
    (ran.made.folder / "beach.mp4").write_bytes(clip.read_bytes())
    batch = ran.made.submit(["beach.mp4,Trim to 2 s"])
    ran.made.ended(batch, 30)
    (job,) = ran.made.jobs(batch)
    video = ran.made.folder / "out" / job.result_path
    me = ran.served.client("me")
    assert me.get(f"/v1/jobs/{job.id}/output").content == video.read_bytes()
    assert ran.ann.get(f"/v1/jobs/{job.id}/output").status_code == 404
    video.unlink()
    assert me.get(f"/v1/jobs/{job.id}/output").status_code == 410


def test_a_file_in_storage_and_one_in_a_person_s_folder_are_never_the_same_file(ran: Ran, clip: Path) -> None:
    me = ran.served.client("me")
    (ran.made.folder / "dusk.mp4").write_bytes(clip.read_bytes() + b"\0\0\0\x08free")
    asset = me.post("/v1/assets", params={"name": "dusk.mp4"}, content=(ran.made.folder / "dusk.mp4").read_bytes())
    for words, here_first in (("Add a red frame", True), ("Add a blue frame", False)):
        jobs = []
        for here in (here_first, not here_first):
            row = {"file": asset.json()["id"], "instruction": words}
            by_hand = ran.made.submit([f"dusk.mp4,{words}"], name=words) if here else ""
            batch = by_hand or me.post("/v1/jobs", json=row).json()["batch"]
            ran.made.ended(batch, 30)
            jobs += ran.made.jobs(batch)
        first, second = jobs
        assert {send.job_id for send in ran.made.sends()} & {first.id, second.id} == {first.id}
        assert first.result_sha256 == second.result_sha256
        if here_first:
            assert str(ran.made.folder) not in me.get(f"/v1/jobs/{second.id}").text
        (ran.made.folder / "out" / (first if here_first else second).result_path).write_bytes(b"cut by hand")
        with ran.storage.open(first.result_sha256) as kept:
            assert hashlib.sha256(kept.read()).hexdigest() == first.result_sha256
