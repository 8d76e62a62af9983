"""A worker is killed at every moment of a job's life in turn; another takes over, and the row ends as it must."""

import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest

from reelq.job import PIPELINE
from reelq.media import is_whole_mp4
from reelq.store.db.models import Outcome
from tests.queue.farm import KINDS
from tests.queue.fates import AS_THE_LEDGER_SAYS, FATES, MOMENTS, RESCUE, STREAM_LOST, TOKEN_LOST
from tests.queue.killing_ground import INTERVAL, Ground, Story
from tests.queue.sizes import PROVING


@dataclass(slots=True)
class Trial:
    """All moments of one kind of deployment, and what the service wrote down meanwhile."""

    stories: dict[str, Story]
    trace: list[str]
    ledger: dict[str, Any]

    def sessions(self, story: Story) -> list[dict[str, Any]]:
        return [book for book in self.ledger["sessions"].values() if story.user and book["account"] == story.user]

    def messages(self, story: Story) -> list[dict[str, Any]]:
        return [message for book in self.sessions(story) for message in book["messages"]]

    def renders(self, story: Story) -> list[dict[str, Any]]:
        return [render for render in self.ledger["renders"] if render["session"] == story.job.remote_session_id]


@pytest.fixture(scope="module", params=KINDS if PROVING else KINDS[:1])
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Every moment of the table, some at a time."""
    with Ground.service() as service:
        ground = Ground(request.param, tmp_path_factory.mktemp("killed"), service)
        trace = ground.trace()
        yield Trial(ground.stories(MOMENTS, at_once=8), trace, service.ledger())


each_moment = pytest.mark.parametrize("moment", MOMENTS)
pytestmark = pytest.mark.timeout(600)


@each_moment
def test_a_row_whose_worker_was_killed_ends_as_it_must(trial: Trial, moment: str) -> None:
    story, fate = trial.stories[moment], FATES[moment]
    # 255: the fork server, from which workers come, has not heard how it ended.
    assert story.exitcode in {-signal.SIGKILL, 255}
    ends = {"succeeded", "edit_unconfirmed"} if fate.ends == AS_THE_LEDGER_SAYS else {fate.ends}
    assert story.first_end in ends
    assert fate.rescued in {story.first_run == 2, None}
    assert story.first_run in {1, 2}
    retried = story.first_end == "edit_unconfirmed"
    assert story.job.run == story.first_run + retried
    assert story.job.status == ("waiting" if fate == TOKEN_LOST else "succeeded")


@each_moment
def test_no_decision_is_delivered_twice_and_one_instruction_takes_effect(trial: Trial, moment: str) -> None:
    story, fate = trial.stories[moment], FATES[moment]
    decisions = [] if fate == TOKEN_LOST else [("instruction", Outcome.APPLIED)]
    if story.first_end == "edit_unconfirmed":
        decisions = [("instruction", Outcome.UNCONFIRMED), ("retry", Outcome.APPLIED)]
    assert [(send.why, send.outcome) for send in story.sends] == decisions
    # What was unconfirmed never arrived: the service got what took effect, and nothing beside it.
    delivered = [(message["text"], message["outcome"]) for message in trial.messages(story)]
    assert delivered == [(send.text, "applied") for send in story.sends if send.outcome is Outcome.APPLIED]
    assert story.job.timeline.count(story.text.removeprefix("Add a ")) == (fate != TOKEN_LOST)
    heard = [send.ended_well for send in story.sends if send.outcome is Outcome.APPLIED]
    lost = moment in STREAM_LOST and story.first_end == "succeeded"
    assert heard == [number > 0 or not lost for number in range(len(heard))]
    assert bool(story.job.reply) == (heard[-1:] == [True])
    assert story.costs == sum(book["charged"] for book in trial.sessions(story))


@each_moment
def test_no_more_sessions_and_exports_are_asked_for_than_the_kill_explains(trial: Trial, moment: str) -> None:
    story, fate = trial.stories[moment], FATES[moment]
    assert len(trial.sessions(story)) == fate.sessions
    renders = trial.renders(story)
    assert [render["id"] for render in renders] == ([] if fate == TOKEN_LOST else [story.job.remote_render_id])
    early = [gap for render in renders for gap in render["spacing"][1:] if gap < INTERVAL - 0.01]
    assert early == []


@each_moment
def test_the_result_is_there_once_and_whole(trial: Trial, moment: str) -> None:
    story, fate = trial.stories[moment], FATES[moment]
    assert story.broken_at_kill == []
    assert list(story.files) == ([] if fate == TOKEN_LOST else [story.job.result_path])
    for path in story.files.values():
        assert is_whole_mp4(path)
        assert path.stat().st_size == story.job.result_size
        assert sha256(path.read_bytes()).hexdigest() == story.job.result_sha256


@each_moment
def test_the_events_tell_the_whole_story(trial: Trial, moment: str) -> None:
    story, fate = trial.stories[moment], FATES[moment]
    happened = Counter(event.what for event in story.events)
    assert happened["rescued"] == story.first_run - 1
    assert happened["retried"] == (story.first_end == "edit_unconfirmed")
    assert all(after.before == before.after for before, after in pairwise(story.events))
    assert [event.run for event in story.events] == sorted(event.run for event in story.events)
    if fate == TOKEN_LOST:
        assert "token" in story.events[-1].words
    else:
        assert {f"{stage} done" for stage in PIPELINE[:-1]} <= happened.keys()
    assert story.events[-1].what == story.job.status


def test_the_table_holds_every_moment_of_a_row_that_nothing_happens_to(
    trial: Trial, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(trial.trace) == {moment for moment in FATES if not moment.startswith(RESCUE)}
    stories = trial.stories.values()
    ends = Counter(str(story.first_end) for story in stories)
    longest = max(story.seconds for story in stories)
    with capsys.disabled():
        print(
            f"\nkilled at {len(stories)} moments: rows ended by themselves as {dict(ends)}, in at most {longest:.0f} s"
        )


def test_every_request_was_attributed_and_no_token_went_to_a_stranger(trial: Trial) -> None:
    assert trial.ledger["missing_headers"] == []
    assert trial.ledger["tokens_at_cdn"] == 0
