"""What the database keeps, what it refuses, and how transactions meet, on SQLite and PostgreSQL alike."""

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import URL, func, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError

from reelq.errors import SettingsError
from reelq.job import FINAL, Cause, Status
from reelq.settings import Settings
from reelq.store.db.engine import Store, database_url, is_unavailable
from reelq.store.db.models import Account, Batch, Job, Send
from tests.databases import (
    add_account,
    add_batch,
    add_job,
    add_send,
    done,
    found,
    moment,
    on_postgres,
    on_sqlite,
    shown,
)

MOMENT = datetime(2026, 3, 29, 1, 59, 59, 999_999, UTC)


# Where the truth is kept


def test_the_truth_is_a_local_file_or_in_a_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REELQ_DATABASE_URL", raising=False)
    local = Settings(reelq_data_dir=tmp_path)
    assert database_url(local) == URL.create("sqlite", database=str(tmp_path / "reelq.db"))
    assert database_url(local, "sandbox.db").database == str(tmp_path / "sandbox.db")
    for scheme in ("postgresql", "postgresql+psycopg"):
        shared = Settings(reelq_database_url=SecretStr(f"{scheme}://someone:p%40ss@db.example/reelq"))
        assert shown(database_url(shared)) == "postgresql+psycopg://someone:p%40ss@db.example/reelq"


@pytest.mark.parametrize("address", ["mysql://someone:hidden-word@db.example/reelq", "no address hidden-word"])
def test_an_address_of_another_kind_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(SettingsError, match="REELQ_DATABASE_URL") as caught:
        database_url(Settings(reelq_database_url=SecretStr(address)))
    assert "hidden-word" not in str(caught.value)


# What comes back as it went in


@pytest.mark.parametrize(
    "moment",
    [MOMENT, MOMENT.replace(microsecond=0), MOMENT.astimezone(timezone(timedelta(hours=5, minutes=45)))],
    ids=["microseconds", "whole seconds", "another zone"],
)
def test_a_time_comes_back_aware_in_utc_and_equal_to_the_microsecond(store: Store, moment: datetime) -> None:
    job_id = done(store, add_job, moment, publish_at=None)
    job = found(store, Job, job_id)
    assert (job.created_at, job.due_at, job.publish_at) == (moment, moment, None)
    assert job.created_at.tzinfo is UTC


def test_times_compare_in_the_database_as_they_do_here_and_none_goes_in_without_a_zone(store: Store) -> None:
    moments = [MOMENT + timedelta(microseconds=step) for step in (0, 1, 2_000_000)]
    with store.write() as session:
        for moment in moments:
            add_job(session, MOMENT, due_at=moment)
        due = session.scalars(select(Job.due_at).where(Job.due_at > MOMENT).order_by(Job.due_at)).all()
    assert due == moments[1:]
    with pytest.raises(StatementError, match="needs a time zone"), store.write() as session:
        add_batch(session, MOMENT.replace(tzinfo=None))


def test_the_clock_is_aware_and_goes_on_within_a_transaction(store: Store) -> None:
    with store.write() as session:
        first, second = store.now(session), store.now(session)
    assert first < second
    assert first.tzinfo is UTC
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.fixture
def fresh(store: Store) -> Iterator[Store]:
    """The same database through connections that nobody has used before."""
    opened = Store(store.url)
    yield opened
    opened.close()


@on_postgres
def test_a_connection_that_the_server_has_closed_is_handed_to_nobody(fresh: Store) -> None:
    mine = text("SELECT pg_backend_pid()")
    with fresh.read() as one, fresh.read() as two:
        before = {one.scalar(mine), two.scalar(mine)}
    with fresh.write() as session:
        others = before - {session.scalar(mine)}
        for pid in others:
            session.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    for _ in range(2):
        with fresh.write() as one, fresh.read() as two:
            assert others.isdisjoint({one.scalar(mine), two.scalar(mine)})


@on_postgres
def test_what_the_server_says_meanwhile_does_not_cost_a_connection(fresh: Store) -> None:
    with fresh.write() as session:
        mine = session.scalar(text("SELECT pg_backend_pid()"))
        session.execute(text("LISTEN something"))
    with fresh.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as held:
        assert held.scalar(text("SELECT pg_backend_pid()")) == mine
        with fresh.write() as other:
            other.execute(text("NOTIFY something"))
    with fresh.write() as one, fresh.write() as two:
        pids = {one.scalar(text("SELECT pg_backend_pid()")), two.scalar(text("SELECT pg_backend_pid()"))}
    assert mine in pids


def test_json_keeps_every_sign_and_none_apart_from_null_and_balances_of_any_size_fit(store: Store) -> None:
    odd = {"a\0b": ["\ud83d", "\udfff\0", "剪到五秒 🎬"], "深": {"n": 1.5, "none": None, "yes": True}}
    with moment(store) as (session, now):
        batch_id, account = add_batch(session, now, limit_credits=10**12), add_account(session, now)
        job_id = add_job(session, now, batch_id=batch_id, account_id=account, extra=odd, changes=["\0", "\ud800"])
        send_id = add_send(session, now, job_id, account, baseline=None)
        assert session.scalar(text("SELECT count(*) FROM sends WHERE baseline IS NULL")) == 1
        session.execute(update(Send).values(baseline={}))
    job = found(store, Job, job_id)
    assert (job.extra, job.changes, found(store, Send, send_id).baseline) == (odd, ["\0", "\ud800"], {})
    assert found(store, Batch, batch_id).limit_credits == 10**12


# What the database refuses


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"status": Status.WAITING}, "ck_jobs_waiting_has_a_cause"),
        ({"status": Status.QUEUED, "cause": Cause.CREDITS}, "ck_jobs_waiting_has_a_cause"),
        ({"status": Status.RUNNING}, "ck_jobs_running_has_a_lease"),
        ({"status": Status.FAILED, "lease_until": MOMENT}, "ck_jobs_running_has_a_lease"),
    ],
)
def test_waiting_has_a_cause_and_running_a_lease(store: Store, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), store.write() as session:
        add_job(session, MOMENT, **values)


OPEN: list[dict[str, Any]] = [
    {"status": Status.QUEUED},
    {"status": Status.RUNNING, "lease_until": MOMENT},
    {"status": Status.WAITING, "cause": Cause.PAUSED},
]


@pytest.mark.parametrize("first", OPEN, ids=["queued", "running", "waiting"])
def test_an_owner_has_one_open_job_of_a_key_and_any_number_of_final_ones(store: Store, first: dict[str, Any]) -> None:
    with store.write() as session:
        for end in sorted(FINAL):
            add_job(session, MOMENT, key="k", status=end)
        add_job(session, MOMENT, key="k", **first)
    with pytest.raises(IntegrityError, match=r"uq_jobs_open_key|jobs.owner, jobs.key"), store.write() as session:
        add_job(session, MOMENT, key="k")
    with store.write() as session:
        add_job(session, MOMENT, key="k", owner="another")
        add_job(session, MOMENT, key="another")


@pytest.mark.parametrize("lost", ["batch_id", "account_id"])
def test_a_job_belongs_to_a_batch_and_an_account_that_stay_there(store: Store, lost: str) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), store.write() as session:
        add_job(session, MOMENT, **{lost: "none"})
    done(store, add_job, MOMENT)
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), store.write() as session:
        session.execute(text("DELETE FROM accounts"))


# Transactions


def test_readers_and_writers_wait_for_nobody_and_see_what_is_committed(
    store: Store,
) -> None:
    def count() -> int | None:
        with store.read() as session:
            return session.scalar(select(func.count()).select_from(Account))

    with ThreadPoolExecutor(1) as pool:
        with store.write() as session:
            add_account(session, MOMENT)
            seen = pool.submit(count).result(timeout=60)
        with store.read() as lingering:
            assert lingering.scalar(select(func.count()).select_from(Account)) == 1
            pool.submit(_write_an_account, store).result(timeout=60)
        assert (seen, count()) == (0, 2)


def _write_an_account(store: Store) -> None:
    done(store, add_account, MOMENT, credential=secrets.token_hex(8))


def test_threads_of_two_processes_that_write_at_once_lose_nothing(store: Store, fresh: Store) -> None:
    _write_an_account(store)

    def count_up(which: Store) -> None:
        with which.write() as session:
            seen = session.scalar(select(func.count()).select_from(Account))
            session.execute(update(Account).values(token_version=Account.token_version + seen))

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(count_up, [store, fresh] * 100))
    with store.read() as session:
        assert session.scalar(select(Account.token_version)) == 200


@on_sqlite
def test_a_database_that_is_away_is_told_from_a_statement_that_is_wrong(store: Store) -> None:
    away = Store(make_url("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    with pytest.raises(OperationalError) as unreachable, away.read() as session:
        session.execute(text("SELECT 1"))
    away.close()
    assert is_unavailable(unreachable.value)
    with pytest.raises(DBAPIError) as refused, store.write() as session:
        add_job(session, MOMENT, batch_id="none")
    assert not is_unavailable(refused.value)


def test_sqlite_writes_ahead_safely_and_holds_foreign_keys_on_every_connection(tmp_path: Path) -> None:
    opened = Store(URL.create("sqlite", database=str(tmp_path / "new folder" / "reelq.db")))
    with opened.read() as first, opened.read() as second:
        for session in (first, second):
            asked = [session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")]
            assert asked == ["wal", 2, 1]
    opened.close()


def test_a_sqlite_file_that_another_process_is_setting_up_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "reelq.db"
    other = sqlite3.connect(file, check_same_thread=False)
    other.execute("CREATE TABLE begun (id)")
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, other.rollback)
    release.start()
    opened = Store(URL.create("sqlite", database=str(file)))
    with opened.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    release.join()
    other.close()
    opened.close()


def test_a_sqlite_file_that_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "reelq.db").write_bytes(os.urandom(4096))
    opened = Store(URL.create("sqlite", database=str(tmp_path / "reelq.db")))
    with pytest.raises(DBAPIError, match="not a database"), opened.read() as session:
        session.execute(text("SELECT 1"))
    opened.close()


@pytest.mark.benchmark
def test_a_store_that_can_not_be_written_says_why_and_since_when(tmp_path: Path) -> None:
    store = Store(URL.create("sqlite", database=str(tmp_path / "small.db")))
    with store.write() as session:
        session.execute(text("CREATE TABLE blobs (bytes BLOB)"))
    assert store.outage(0) == ""

    def write_too_much() -> None:
        with store.write() as session:
            session.execute(text("PRAGMA max_page_count = 10"))
            session.execute(text("INSERT INTO blobs SELECT zeroblob(100000)"))

    for _ in range(2):
        with pytest.raises(OperationalError):
            write_too_much()
        time.sleep(0.01)
    with store.write() as session:
        session.execute(text("SELECT 1"))  # that works, having nothing to write: it is no proof
    assert "full" in store.outage(0)
    assert store.outage(60) == ""
    store.close()
