"""`/metrics`: the truth in figures, all owners together and none by name, counted once however many ask."""

from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, insert

from api.routes.metrics import Exposition
from reelq.job import Cause, Stage, Status
from reelq.store.db.client_models import DeliveryState, Scope, Webhook, WebhookDelivery
from reelq.store.db.models import Batch, BatchState, CreditReading
from reelq.store.db.types import new_id
from tests.api.serving import Served, on_each_database
from tests.api.stock import fill
from tests.databases import add_account, add_batch, add_job, change, moment

_MINUTE: Final = timedelta(minutes=1)

pytestmark = on_each_database  # most of it is SQL


@pytest.fixture
def prometheus(served: Served) -> httpx.Client:
    """A client that scrapes the metrics; every scrape counts again."""
    served.app.state.exposition = Exposition(kept_seconds=0, share=0)
    return served.client("prometheus", Scope.METRICS)


def _told(prometheus: httpx.Client) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels."""
    answer = prometheus.get("/metrics").raise_for_status()
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, tuple(one.labels.values())): one.value for family in families for one in family.samples}


def test_rows_are_told_by_stage_status_and_cause_and_by_no_name(served: Served, prometheus: httpx.Client) -> None:
    stocks = [fill(served.store, owner) for owner in ("ann", "bob")]
    told = _told(prometheus)
    jobs = {at: count for (name, at), count in told.items() if name == "reelq_jobs"}
    assert len(jobs) == len(Stage) * len(Status)
    assert {at: count for at, count in jobs.items() if count} == {
        ("upload", "queued"): 2,
        ("upload", "running"): 2,
        ("edit", "waiting"): 2,
        ("download", "succeeded"): 2,
        ("verify", "failed"): 4,
        ("upload", "cancelled"): 2,
    }
    waiting = {at: count for (name, at), count in told.items() if name == "reelq_jobs_waiting"}
    assert waiting == {(cause,): 2.0 * (cause is Cause.CREDITS) for cause in Cause}
    assert {at: count for (name, at), count in told.items() if name == "reelq_batches"} == {
        ("active",): 4, ("paused",): 0, ("cancelled",): 0, ("finished",): 0,
    }  # fmt: skip
    shown = prometheus.get("/metrics").text
    assert not any(word in shown for word in ("ann", "bob", ".csv", *stocks[0].ids, *stocks[1].ids))


def test_an_empty_deployment_has_figures_too(prometheus: httpx.Client) -> None:
    told = _told(prometheus)
    assert told["reelq_queue_late_seconds", ()] == told["reelq_jobs_overdue", ()] == 0
    assert told["reelq_schema_current", ("0005",)] == 1
    assert not [name for name, _ in told if name.startswith("reelq_account_credits")]


def test_a_row_that_is_due_and_that_nobody_takes_is_overdue_since_then(
    served: Served, prometheus: httpx.Client
) -> None:
    with moment(served.store) as (session, now):
        account = add_account(session, now)
        for minutes in (-3, -2, 1):
            add_job(session, now, account_id=account, admitted=True, due_at=now + minutes * _MINUTE)
    told = _told(prometheus)
    assert told["reelq_jobs_overdue", ()] == 2
    assert 180 <= told["reelq_queue_late_seconds", ()] < 200
    assert told["reelq_account_in_flight", (account,)] == 3


@pytest.mark.parametrize(
    ("window", "state", "late"),
    [(64, BatchState.ACTIVE, True), (1, BatchState.ACTIVE, False), (64, BatchState.PAUSED, False)],
    ids=["room for it", "no room", "paused"],
)
def test_rows_that_could_begin_while_nothing_happens_make_the_queue_late(
    served: Served, prometheus: httpx.Client, window: int, state: BatchState, late: bool
) -> None:
    with moment(served.store) as (session, now):
        row = {"account_id": add_account(session, now, window=window), "batch_id": add_batch(session, now, state=state)}
        add_job(session, now, admitted=True, status=Status.RUNNING, lease_until=now + _MINUTE, **row)
        add_job(session, now, row=2, due_at=now - 5 * _MINUTE, **row)
    told = _told(prometheus)
    assert told["reelq_jobs_overdue", ()] == 0
    assert told["reelq_queue_late_seconds", ()] == (pytest.approx(300, abs=20) if late else 0)


def test_the_oldest_row_of_a_status_is_as_old_as_its_batch(served: Served, prometheus: httpx.Client) -> None:
    stock, younger = fill(served.store, "ann"), fill(served.store, "bob")
    now = datetime.now(UTC)
    for batch, minutes in ((stock.batch, 60), (younger.batch, 5), (stock.ended_batch, 600)):
        change(served.store, Batch, batch, created_at=now - minutes * _MINUTE)
    change(served.store, Batch, stock.ended_batch, finished_at=now)
    told = _told(prometheus)
    ages = {at[0]: age for (name, at), age in told.items() if name == "reelq_job_oldest_seconds"}
    assert ages == {status: pytest.approx(3600, abs=20) for status in ("queued", "running", "waiting")}
    assert told["reelq_batches", ("finished",)] == 1


def test_an_account_tells_what_holds_it_back(served: Served, prometheus: httpx.Client) -> None:
    with moment(served.store) as (session, now):
        values = {"blocked_until": now + _MINUTE, "parked": Cause.TOKEN, "parked_why": "refused", "window": 7.5}
        account = add_account(session, now, **values)
    told = _told(prometheus)
    assert told["reelq_account_window", (account,)] == 7
    assert 40 < told["reelq_account_blocked_seconds", (account,)] <= 60
    parked = {at[1]: value for (name, at), value in told.items() if name == "reelq_account_parked"}
    assert parked == {"credits": 0, "plan": 0, "token": 1}


def _read(served: Served, account: str, *balances: tuple[int, int, int, int]) -> None:
    with moment(served.store) as (session, now):
        for available, frozen, top_up, unattributed in balances:
            values = {"available": available, "frozen": frozen, "top_up": top_up, "unattributed": unattributed}
            session.execute(insert(CreditReading).values(account_id=account, at=now, moment="before", **values))


def test_what_is_spent_adds_up_over_readings_and_scrapes(served: Served, prometheus: httpx.Client) -> None:
    with moment(served.store) as (session, now):
        account, other = (add_account(session, now, credential=word) for word in "ab")
    _read(served, account, (1000, 0, 0, 0), (900, 50, 0, 50), (880, 0, 0, 0))
    assert _spent(prometheus, account) == (120, 50, 0)
    _read(served, account, (1380, 0, 500, 0), (1300, 10, 0, 0))
    _read(served, other, (5, 0, 0, 0))
    assert _spent(prometheus, account) == (190, 50, 500)
    assert _spent(prometheus, other) == (0, 0, 0)
    told = _told(prometheus)
    assert told["reelq_account_credits", (account, "available")] == 1300
    assert told["reelq_account_credits", (account, "frozen")] == 10


def _spent(prometheus: httpx.Client, account: str) -> tuple[float, ...]:
    told = _told(prometheus)
    names = ("spent", "unattributed", "topped_up")
    return tuple(told[f"reelq_account_credits_{name}_total", (account,)] for name in names)


def test_messages_to_endpoints_are_told_by_what_became_of_them(served: Served, prometheus: httpx.Client) -> None:
    with moment(served.store) as (session, now):
        for name, disabled_at in (("hook_a", None), ("hook_b", now)):
            hook = {"id": name, "owner": "ann", "url": "https://example.com", "secret": b"", "events": []}
            session.execute(insert(Webhook).values(**hook, created_at=now, disabled_at=disabled_at, why=""))
        for state, age in (("pending", 9), ("pending", 3), ("failed", 60), ("delivered", 90)):
            told = {"id": new_id("msg"), "webhook_id": "hook_a", "event": "job.failed", "batch_id": "b", "body": "{}"}
            at = {"state": DeliveryState(state), "due_at": now, "created_at": now - age * _MINUTE}
            session.execute(insert(WebhookDelivery).values(**told, **at))
    shown = _told(prometheus)
    assert shown["reelq_webhook_deliveries", ("pending",)] == 2
    assert shown["reelq_webhook_deliveries", ("failed",)] == 1
    assert 540 <= shown["reelq_webhook_oldest_pending_seconds", ()] < 560
    assert (shown["reelq_webhooks", ("active",)], shown["reelq_webhooks", ("disabled",)]) == (1, 1)


def test_ten_who_ask_at_once_cost_one_count(served: Served, prometheus: httpx.Client) -> None:
    counts: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM jobs GROUP BY" in " ".join(statement.split()):
            counts.append(statement)

    served.app.state.exposition = Exposition(kept_seconds=600)
    event.listen(served.store.engine, "before_cursor_execute", note)
    answers = {prometheus.get("/metrics").text for _ in range(10)}
    assert (len(counts), len(answers)) == (1, 1)
    assert "reelq_build_info" in answers.pop()
