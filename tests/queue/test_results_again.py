"""Results come home again, from another row's file or from the service, without an instruction being sent."""

from pathlib import Path
from typing import Any

import pytest

from reelq.job import Cause
from reelq.media import is_whole_mp4
from reelq.store.db.models import Job
from tests.queue.farm import CLIP, ON_REDIS, Farm, farm

ROW = f"{CLIP},Add a title that says Once,"
HEADER = "file,instruction,session"


def _result(made: Farm, job: Job) -> Path:
    return made.folder / "out" / job.output


def _ended(made: Farm, *rows: str) -> tuple[str, list[Job]]:
    batch = made.submit(rows, header=HEADER)
    assert made.ended(batch) == {"succeeded": len(rows)}
    return batch, made.jobs(batch)


@pytest.mark.parametrize("kind", ON_REDIS)
def test_a_deleted_result_is_downloaded_again_and_where_it_is_gone_exported_again_unless_its_session_went_on(
    kind: str, tmp_path: Path
) -> None:
    with farm(kind, tmp_path) as made:
        made.start_worker()
        rows = [ROW, f"{CLIP},Add a title that says Twice,reel", ",Add music,reel"]
        batch, (alone, first, _) = _ended(made, *rows)
        for job in (alone, first):
            _result(made, job).unlink()
        again, (alone, first, _) = _ended(made, *rows)
        assert again == batch
        assert len(made.sandbox.ledger()["renders"]) == 3
        for job in (alone, first):
            assert is_whole_mp4(_result(made, job))
            _result(made, job).unlink()
            _forget_result(made, job)
        made.submit(rows, header=HEADER)
        assert made.ended(batch) == {"result_missing": 1, "succeeded": 2}
        assert is_whole_mp4(_result(made, alone))
        assert "later rows have changed its session" in made.jobs(batch)[1].error
        assert len(made.sandbox.ledger()["renders"]) == 4
        assert len(made.sends()) == 3


def _forget_result(made: Farm, job: Job) -> None:
    """From now on neither of its addresses has the file."""
    gone: dict[str, Any] = {"result_url": f"{made.sandbox.url}/gone/{job.id}.mp4", "remote_render_id": "render_gone"}
    with made.store.write() as session:
        for name, value in gone.items():
            setattr(session.get_one(Job, job.id), name, value)


@pytest.mark.parametrize("kind", ON_REDIS)
def test_rows_of_other_manifests_take_the_file_once_it_is_there(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"edit_seconds": 1}) as made:
        first = made.submit([ROW], header=HEADER)
        joined = made.submit([ROW], header=HEADER, name="joined", out="second")
        assert made.jobs(joined)[0].cause is Cause.TWIN
        made.start_worker()
        assert made.ended(joined) == made.ended(first) == {"succeeded": 1}
        taken = made.submit([ROW], header=HEADER, name="taken", out="third")
        assert made.ended(taken) == {"succeeded": 1}
        (name,) = (job.output for job in made.jobs(first))
        files = [tmp_path / out / name for out in ("out", "second", "third")]
        assert all(file.samefile(files[0]) for file in files)  # one file, downloaded once
        assert (len(made.sends()), len(made.sandbox.ledger()["renders"])) == (1, 1)
