"""What people read of the queue: a batch's standing, its causes, its rows, its results, and how it is found."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reelq import skills
from reelq.cli.backends.local import DatabaseDirectory
from reelq.cli.targets import resolve, resolve_batch, resolve_job
from reelq.cli.views.report import exit_code, summary_data
from reelq.cli.views.watch import View, follow, open_reader
from reelq.errors import CannotWrite, UnknownName
from reelq.job import Cause, Route, Stage, Status
from reelq.manifest import checks
from reelq.results import Form, result_lines, write_beside_videos, write_results
from reelq.store.db.engine import Store
from reelq.store.db.models import Account, Batch, BatchState, Job, Outcome
from reelq.store.jobs.transitions import Position, move, write_progress
from reelq.store.queries.batch_status import Snapshot, snapshot
from reelq.store.queries.events import RowEvent
from reelq.store.queries.rows import with_reasons
from tests.databases import add_account, add_batch, add_job, add_send, change, moment


@dataclass
class Made:
    """A batch, to which rows are put as they have come so far, and how it is seen."""

    store: Store
    batch: str
    account: str

    def put(self, row: int, status: Status = Status.QUEUED, **values: Any) -> str:
        with moment(self.store) as (session, now):
            told: dict[str, Any] = {"row": row, "name": str(row), "status": status, "started_at": now}
            if status is Status.RUNNING:
                told |= {"lease_until": now + timedelta(seconds=20), "admitted": True}
            return add_job(session, now, batch_id=self.batch, account_id=self.account, **{**told, **values})

    def seen(self, batch_id: str = "", **how: Any) -> Snapshot:
        with self.store.read() as session:
            return snapshot(session, batch_id or self.batch, self.store.now(session), **how)


@pytest.fixture
def made(store: Store) -> Made:
    with moment(store) as (session, now):
        return Made(store, add_batch(session, now, name="jobs.csv", source="/clips"), add_account(session, now))


def test_rows_in_motion_come_with_their_last_words_those_at_work_first(made: Made) -> None:
    made.put(1, stage=Stage.POLL, admitted=True)
    at_work = made.put(2, Status.RUNNING, stage=Stage.EDIT)
    made.put(3)
    made.put(4, admitted=True, started_at=None)
    with made.store.write() as session:
        job, now = session.get_one(Job, at_work), made.store.now(session)
        write_progress(session, Position.of(job), now - timedelta(seconds=5), "progress", "looking at the clip")
        write_progress(session, Position.of(job), now, "progress", "adding captions")
    rows = made.seen().moving
    assert [row.row for row in rows] == [2, 1]
    assert rows[0].words == "adding captions"
    assert (made.seen().at - rows[0].since).total_seconds() >= 5
    assert len(made.seen(shown=1).moving) == 1


def test_credits_are_those_of_this_batch_and_marked_where_they_are_shared(made: Made) -> None:
    one, other = made.put(1), made.put(2)
    with moment(made.store) as (session, now):
        add_send(session, now, one, made.account, cost=50, outcome=Outcome.APPLIED)
        add_send(session, now, add_job(session, now), made.account, cost=1000, outcome=Outcome.APPLIED)
    assert (made.seen().credits, made.seen().shared) == (50, False)
    with made.store.write() as session:
        add_send(session, made.store.now(session), other, made.account, cost=7, shared=True, outcome=Outcome.APPLIED)
    assert (made.seen().credits, made.seen().shared) == (57, True)


@pytest.mark.parametrize(
    ("batch", "rows", "rests", "code"),
    [
        ({}, [Status.SUCCEEDED], True, 0),
        ({}, [Status.SUCCEEDED, Status.FAILED], True, 1),
        ({}, [Status.SUCCEEDED, Status.CANCELLED], True, 1),
        ({}, [Status.FAILED, Status.QUEUED], False, 3),
        ({"state": BatchState.PAUSED}, [Status.QUEUED], True, 3),
        ({"state": BatchState.PAUSED}, [Status.QUEUED, Status.RUNNING], False, 3),
        ({"released": 1}, [Status.SUCCEEDED, Status.QUEUED], True, 3),
        ({"released": 2}, [Status.SUCCEEDED, Status.QUEUED], False, 3),
        ({}, [Status.WAITING], True, 3),
        ({}, [Status.WAITING, Status.QUEUED], False, 3),
    ],
)
def test_a_batch_rests_once_nothing_goes_on_without_a_person_and_has_an_exit_code(
    made: Made, batch: dict[str, Any], rows: list[Status], rests: bool, code: int
) -> None:
    if batch:
        change(made.store, Batch, made.batch, **batch)
    for number, status in enumerate(rows, 1):
        made.put(number, status, cause=Cause.CREDITS if status is Status.WAITING else None)
    told = made.seen()
    assert (told.at_rest, exit_code(told)) == (rests, code)


@pytest.mark.parametrize(
    ("held", "rests"), [({}, False), ({"state": BatchState.PAUSED}, True), ({"released": 0}, True)]
)
def test_a_batch_of_twins_rests_where_what_it_waits_for_rests(made: Made, held: dict[str, Any], rests: bool) -> None:
    with moment(made.store) as (session, now):
        original = add_job(session, now, batch_id=add_batch(session, now, **held))
    made.put(1, Status.WAITING, cause=Cause.TWIN, same_as=original)
    assert made.seen().at_rest is rests
    change(made.store, Job, original, status=Status.RUNNING, lease_until=now)
    assert not made.seen().at_rest
    change(made.store, Job, original, status=Status.FAILED, lease_until=None)
    assert made.seen().at_rest


def test_what_holds_an_account_up_is_told_only_to_batches_that_it_holds_up(made: Made) -> None:
    made.put(1, Status.RUNNING)
    with moment(made.store) as (session, now):
        other = add_batch(session, now)
        add_job(session, now, batch_id=other)
    change(made.store, Account, made.account, blocked_until=now + timedelta(seconds=30))
    (hold,) = made.seen().holds
    assert hold.cause is None
    assert made.seen(other).holds == ()
    made.put(2, Status.WAITING, cause=Cause.CREDITS)
    why = "no credits. Register: https://x"
    change(made.store, Account, made.account, blocked_until=None, parked=Cause.CREDITS, parked_why=why)
    (hold,) = made.seen().holds
    assert (hold.cause, hold.why) == (Cause.CREDITS, why)


def test_somebody_works_on_a_batch_while_a_lease_lives_or_nothing_is_overdue(made: Made) -> None:
    with moment(made.store) as (session, now):
        long_ago = now - timedelta(hours=1)
    change(made.store, Batch, made.batch, created_at=long_ago)
    job_id = made.put(1, admitted=True, publish_at=long_ago)
    assert not made.seen().tended

    def after(**values: Any) -> bool:
        change(made.store, Job, job_id, **values)
        return made.seen().tended

    assert after(publish_at=now + timedelta(minutes=1))
    assert after(publish_at=None, status=Status.RUNNING, lease_until=now + timedelta(minutes=1))
    assert not after(lease_until=long_ago)
    with made.store.write() as session:
        write_progress(session, Position.of(session.get_one(Job, job_id)), made.store.now(session), "progress", "words")
    assert made.seen().tended


def test_failures_and_waits_are_grouped_by_their_cause(made: Made) -> None:
    for row in (1, 2, 5):
        made.put(row, Status.FAILED, error_code="no_effect", error=f"row {row}", advice="Read it")
    made.put(3, Status.FAILED, error_code="session_lost")
    made.put(4, Status.WAITING, cause=Cause.SESSION)
    made.put(6, Status.WAITING, cause=Cause.CREDITS)
    made.put(7, Status.CANCELLED, error_code="predecessor")
    made.put(8, Status.CANCELLED)
    with made.store.read() as session:
        told = with_reasons(session, made.seen())
    assert [(group.code, group.rows) for group in told.failures] == [
        ("no_effect", (1, 2, 5)),
        ("session_lost", (3,)),
        ("predecessor", (7,)),
    ]
    assert (told.failures[0].words, told.failures[0].advice) == ("row 1", "Read it")
    assert [(group.code, group.count) for group in told.waits] == [("credits", 1), ("session", 1)]
    assert exit_code(told) == 3
    assert json.loads(json.dumps(summary_data(told)))["failed"] == 4


class Kept(View):
    """A view that remembers, and has a row fail at each update."""

    def __init__(self, store: Store, jobs: list[str]) -> None:
        self.store, self.jobs, self.closed = store, jobs, False
        self.told: list[str] = []

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def update(self, batch: Snapshot, events: Sequence[RowEvent]) -> None:
        self.told += [one.words for one in events]
        if self.jobs:
            with moment(self.store) as (session, now):
                job = session.get_one(Job, self.jobs.pop(0))
                move(session, Position.of(job), Status.FAILED, now, f"row {job.row} failed")

    def notify(self, message: str) -> None:
        raise AssertionError(message)


def test_following_ends_with_the_batch_and_tells_each_event_once(made: Made) -> None:
    view = Kept(made.store, [made.put(row) for row in (1, 2, 3)])
    last = follow(open_reader(made.store, made.batch), view, every=0.01)
    assert last.count(Status.FAILED) == 3
    assert view.told == ["row 1 failed", "row 2 failed", "row 3 failed"]
    assert view.closed


def test_a_batch_is_named_by_id_manifest_or_last(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with moment(store) as (session, now):
        old = add_batch(session, now, id="bat_01aaaaaaaaxyz1", name="jobs.csv", source=str(tmp_path))
        new = add_batch(session, now, id="bat_01aaaaaabbxyz2", name="jobs.csv", source=str(tmp_path))
        other = add_batch(session, now, id="bat_01cccccccccyz3", name="other.csv", source="/elsewhere")
        theirs = add_batch(session, now, id="bat_01zzzzzzzzzzz9", name="theirs.csv", owner="somebody else")
        account = add_account(session, now)
        for batch in (old, new, other, theirs):
            add_job(session, now, batch_id=batch, account_id=account)
    words = {old: [old, "xyz1", "01aaaaaaaa"], new: ["jobs.csv", "jobs", "./jobs.csv", str(tmp_path / "jobs.csv")]}
    words |= {other: ["last", "yz3", "bat_01c", "other"]}
    for meant, named_so in words.items():
        for word in named_so:
            assert resolve_batch(DatabaseDirectory(store, "local"), word).batch_id == meant, word
    for word in ("bat_01", "z", "01a", theirs, "theirs", "", "job"):
        with pytest.raises(UnknownName):
            resolve_batch(DatabaseDirectory(store, "local"), word)
    with pytest.raises(UnknownName) as near:
        resolve_batch(DatabaseDirectory(store, "local"), "othr.csv")
    assert "'other.csv'" in near.value.advice


def test_a_row_is_named_by_its_id_its_number_or_the_users_own_word(made: Made) -> None:
    first, second = made.put(1, name="cut: a"), made.put(2, name="2")
    third, fourth = made.put(3, name="4"), made.put(4, name="x")
    for word, meant in (("last:1", first), ("jobs:cut: a", first), (second, second), ("last:2", second)):
        assert resolve_job(DatabaseDirectory(made.store, "local"), word).job_id == meant, word
    assert not resolve(DatabaseDirectory(made.store, "local"), "last").job_id
    assert resolve(DatabaseDirectory(made.store, "local"), "last:3") == resolve_job(
        DatabaseDirectory(made.store, "local"), third
    )
    with pytest.raises(UnknownName, match=f"{third}.*{fourth}"):
        resolve_job(DatabaseDirectory(made.store, "local"), "last:4")
    for word in ("last:9", "last:", "job_nobody", "last", "nothing:1", "last:99999999999999999999"):
        with pytest.raises(UnknownName):
            resolve_job(DatabaseDirectory(made.store, "local"), word)


def test_results_are_a_manifest_that_comes_out_the_same_when_it_is_read(made: Made, tmp_path: Path) -> None:
    columns = ["文件", "instruction", "编号", "references", "output", "status", "=title"]
    change(made.store, Batch, made.batch, columns=columns, options={"form": "semicolon"})
    evil = '=HYPERLINK("http://x")\nsecond\x07 line; "quoted" ' + "长" * 40_000
    extra = {"status": "mine", "=title": "=1+1"}
    for row in range(1, 4):
        made.put(
            row, Status.FAILED if row == 2 else Status.SUCCEEDED, file="海滩.mp4", extra=extra,
            references=["a.png", "b.png"], name=f"cut-{row}", instruction="Trim\nit; now", reply=evil,
            output=f"{row}.mp4", result_path=f"{row}.mp4", timeline="@x", error="-1",
        )  # fmt: skip
    for name in ("海滩.mp4", "a.png", "b.png"):
        (tmp_path / name).write_bytes(b"a file")
    results = write_results(made.store, made.batch, tmp_path / "results.csv")
    assert results.read_bytes().startswith(b"\xef\xbb\xbf")
    checked = checks.check_file(results, skills=skills.load())
    assert checked.faults == ()
    assert checked.form == "semicolon"
    rows = checked.rows
    assert [(row.id, row.file, row.instruction, row.references, row.output) for row in rows] == [
        (f"cut-{row}", "海滩.mp4", "Trim\nit; now", ("a.png", "b.png"), f"{row}.mp4") for row in (1, 2, 3)
    ]
    assert rows[0].extra["=title"] == "=1+1"
    assert (rows[0].extra["status (manifest)"], rows[1].extra["status"]) == ("mine", "failed")
    told = [rows[0].extra[name] for name in ("reply", "timeline", "error")]
    assert all(cell.startswith("'") for cell in told)
    assert len(told[0]) < 32_767
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob(".*"))
    # Run again, its columns are those of this file: what it said before gives way, and nothing piles up.
    change(made.store, Batch, made.batch, columns=list(checked.columns))
    again = checks.check_file(write_results(made.store, made.batch, results), skills=skills.load())
    assert sorted(again.columns) == sorted(checked.columns)


def test_results_as_json_lines_are_what_was_said_and_go_where_a_run_puts_them(made: Made, tmp_path: Path) -> None:
    change(made.store, Batch, made.batch, columns=["file", "instruction"], out=str(tmp_path / "deep" / "out"))
    made.put(1, Status.WAITING, cause=Cause.CREDITS, reply="=1", route=Route.EDIT)
    row = json.loads("".join(result_lines(made.store, made.batch, Form.JSONL)))
    assert (row["status"], row["error_code"], row["error"]) == ("waiting", "credits", "waits for credits")
    assert row["reply"] == "=1"
    path = write_beside_videos(made.store, made.batch)
    assert path == tmp_path / "deep" / "out" / "results.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["waiting"]
    with pytest.raises(CannotWrite, match="there is no folder"):
        write_results(made.store, made.batch, tmp_path / "gone" / "r.csv")
