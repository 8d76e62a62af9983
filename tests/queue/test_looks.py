"""Looks at exports past Celery: what they can't settle their rows' stages do, and nobody looks too soon."""

import signal
from pathlib import Path

import pytest

from tests.queue.farm import CLIP, IN_PROCESS, KINDS, Farm, farm, until
from tests.queue.sizes import crossed

INTERVAL = 1.0
ROWS = 6
SLOW = 3.0


def _gaps(made: Farm) -> list[float]:
    """Between two looks at one export."""
    return [gap for render in made.sandbox.ledger()["renders"] for gap in render["spacing"][1:]]


def _words(made: Farm, batch: str) -> list[str]:
    return [event.words for job in made.jobs(batch) for event in made.events(job.id) if event.stage == "poll"]


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_an_export_that_is_seen_to_be_done_is_not_looked_at_once_more(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"render_seconds": 1.5}, reelq_poll_interval=INTERVAL) as made:
        batch = made.submit([f"{CLIP},export"] * ROWS)
        made.start_worker()
        assert made.ended(batch, 60) == {"succeeded": ROWS}
        assert min(_gaps(made)) >= INTERVAL - 0.01
        said = _words(made, batch)
        assert said.count("poll begins") == said.count("rendered") == ROWS
        assert "rendering" in said


@pytest.mark.parametrize(
    ("kind", "fault"), crossed(KINDS, ["rate_limited", "unavailable", "connection_dropped", "html"])
)
def test_looks_that_find_out_nothing_are_judged_by_their_rows_stages(kind: str, fault: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"render_seconds": 1.5}, reelq_poll_interval=INTERVAL) as made:
        batch = made.submit([f"{CLIP},export"] * ROWS)
        made.start_worker()
        until(lambda: sum(made.where(batch).values()) == made.where(batch).get(("poll", "queued")), "all exports")
        made.sandbox.faults(**{fault: {"count": 2 * ROWS, "on": "poll"}})
        assert made.ended(batch) == {"succeeded": ROWS}
        assert len(made.sandbox.ledger()["renders"]) == ROWS
        assert any("again in" in words for words in _words(made, batch))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_a_stopping_worker_has_not_looked_at_is_looked_at_by_the_next_one_at_once(
    kind: str, tmp_path: Path
) -> None:
    rows = 40  # more than are looked at at once
    with farm(kind, tmp_path, faults={"render_stuck": 1}, reelq_poll_limit=500, reelq_poll_interval=4.0) as made:
        batch = made.submit([f"{CLIP},export"] * rows)
        first = made.start_worker()
        until(lambda: made.where(batch) == {("poll", "queued"): rows}, "all exports")
        until(lambda: made.sandbox.ledger()["polls"] >= rows, "a look at each")
        made.sandbox.faults(slow_answer={"seconds": SLOW, "on": "poll"})
        before = made.sandbox.ledger()["polls"]
        until(lambda: made.sandbox.ledger()["polls"] > before, "looks that take long")
        first.send_signal(signal.SIGTERM)
        first.wait(30)
        made.sandbox.faults(slow_answer=None)
        before = made.sandbox.ledger()["polls"]
        made.start_worker()
        # Sooner than what is lost, which is looked at again after a minute.
        until(lambda: made.sandbox.ledger()["polls"] >= before + rows, "a look at each by the next worker", 45)
