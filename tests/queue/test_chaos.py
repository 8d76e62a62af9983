"""Rows against a service that does everything wrong: each comes through, or ends where its edit never took place."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.queue.farm import KINDS, Farm, farm, lines
from tests.queue.sizes import PROVING, size

ROWS = size(24, 300)
TOKENS_LAST = 4.0
FAULTS: dict[str, object] = {
    "silent_edit": 0.3,
    "screen_talk": 1,
    "server_error": 0.03,
    "bad_gateway": 0.02,
    "stream_cut": 0.015,
    "stream_cut_ends": 0.015,
    "two_step_edit": 0.05,
    "tokens_expire": {"seconds": TOKENS_LAST},
    "rate_limited": 0.01,
}


def nothing_is_wrong(made: Farm) -> None:
    """The four promises, as far as the sandbox's ledger and the database can tell."""
    ledger = made.sandbox.ledger()
    interval = made.settings.reelq_poll_interval
    messages = Counter((session_id, message["text"]) for session_id, message in made.heard())
    decided = Counter((job.remote_session_id, send.text) for job, send in made.decisions())
    unforeseen = messages - decided
    assert not unforeseen, f"messages beyond the decisions to send: {unforeseen}"
    assert ledger["missing_headers"] == []
    assert ledger["tokens_at_cdn"] == 0
    early = [render for render in ledger["renders"] if any(gap < interval - 0.01 for gap in render["spacing"][1:])]
    jobs = {job.id for job, _ in made.decisions() if job.remote_session_id in {render["session"] for render in early}}
    told = [(str(event.at), event.what, event.words) for job_id in jobs for event in made.events(job_id)]
    assert early == [], f"polled too soon: {told}"
    assert [path.name for path in made.folder.rglob("*.part")] == []


@pytest.mark.timeout(900 if PROVING else 150)
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_comes_through_a_service_that_does_everything_wrong(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with farm(kind, tmp_path, faults=FAULTS, reelq_edit_timeout=8.0, reelq_silence_timeout=7.0) as made:
        batch = made.submit(lines(ROWS))
        for _ in range(1 if kind == "in-process" else 2):
            made.start_worker()
        made.sandbox.faults(rate_limited={"rate": 1, "for": 1})
        ends = made.ended(batch, 800 if PROVING else 120)
        with capsys.disabled():
            print(f"\n{kind}: {ROWS} rows ended as {dict(ends)}")
        assert set(ends) <= {"succeeded", "edit_unconfirmed"}
        assert ends["succeeded"] > ROWS * 0.8
        nothing_is_wrong(made)
        (requests,) = made.sandbox.ledger()["token_requests"].values()  # one client, for ever
        issued = [asked["at"] for asked in requests if asked["outcome"] == "issued"]
        assert all(after - before > TOKENS_LAST - 0.1 for before, after in pairwise(issued))
        for job in made.jobs(batch):
            if job.status == "succeeded":
                assert Path(tmp_path, "out", job.result_path).stat().st_size == job.result_size
        made.sandbox.faults(**dict.fromkeys(FAULTS))
        made.read_balance()
        assert made.costs() == made.sandbox.ledger()["charged"]
