"""An export comes to an end, whatever the service says of it: one that it always forgets is not asked for for ever."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from reelq.errors import RenderStuck, RenderUnknown
from reelq.job import Route, Stage
from reelq.remote.receipts import State
from reelq.settings import Settings
from tests.stages.rows import row_in
from worker.desk import Desk, Job, NotYet
from worker.stages.poll import poll

LIMIT = 5
DRAFT = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 3000}]}]}


@dataclass
class _Forgetful:
    """A service that takes every export and knows of none."""

    submitted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def progress(self, _: str) -> None:
        raise RenderUnknown

    def state(self, _: str) -> State:
        return State(DRAFT)

    def render(self, render_id: str, *_: Any) -> None:
        self.submitted.append(render_id)

    def cancel_render(self, render_id: str) -> None:
        self.cancelled.append(render_id)


@dataclass
class _Desk:
    """What the stage asks of its desk here."""

    settings: Settings
    remote: _Forgetful = field(default_factory=_Forgetful)

    def reserve_render(self) -> str:
        return "second"


@pytest.fixture
def desk(tmp_path: Path) -> _Desk:
    return _Desk(Settings(reelq_data_dir=tmp_path, reelq_poll_limit=LIMIT))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return row_in(Stage.POLL, route=Route.EXPORT, result=tmp_path / "a.mp4", render_id="first")


def look(job: Job, desk: _Desk) -> object:
    return poll(job, cast("Desk", desk))


def test_a_forgotten_export_is_submitted_again_under_its_own_id(job: Job, desk: _Desk) -> None:
    done = look(job, desk)
    assert isinstance(done, NotYet)
    assert (desk.remote.submitted, "forgotten" in done.words, done.anew) == (["first"], True, False)


def test_an_export_that_is_forgotten_again_and_again_gives_way_to_a_second_one(job: Job, desk: _Desk) -> None:
    done = look(replace(job, looks=LIMIT), desk)
    assert isinstance(done, NotYet)
    assert (desk.remote.submitted, desk.remote.cancelled, done.anew, done.words) == (
        ["second"],
        ["first"],
        True,
        "the export came to no end; a second one began",
    )


def test_when_the_second_one_is_forgotten_as_well_the_row_fails(job: Job, desk: _Desk) -> None:
    with pytest.raises(RenderStuck):
        look(replace(job, render_id="second", renders=2, looks=LIMIT), desk)
    assert desk.remote.submitted == []
