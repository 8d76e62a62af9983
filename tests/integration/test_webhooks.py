"""What endpoints are told: written with the event or not at all, taken by one worker at a time, tried for hours."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from reelq.egress import EgressClient
from reelq.job import FINAL, Cause, Stage, Status
from reelq.store.db.client_models import DeliveryState, Webhook, WebhookDelivery
from reelq.store.db.engine import Store
from reelq.store.db.models import Batch, Job
from reelq.store.db.vault import Vault
from reelq.store.jobs import retries
from reelq.store.jobs.transitions import Position, move
from reelq.store.webhooks import deliveries, endpoints, outbox
from reelq.store.webhooks.deliveries import DeliveryMessage
from reelq.store.webhooks.outbox import Event
from tests.databases import (
    add_account,
    add_batch,
    add_job,
    add_send,
    change,
    done,
    found,
    moment,
    on_postgres,
    on_sqlite,
    selected,
)
from tests.integration.desks import together
from tests.receiver import Receiver, says
from worker.maintenance import FinishedBatches
from worker.webhooks import Deliveries

VAULT = Vault("a key for tests, long enough")
SECRET = endpoints.new_secret()
LONG_AGO = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An endpoint on this machine."""
    with Receiver() as made:
        yield made


def hook(
    store: Store, url: str = "https://example.com/", events: Sequence[Event] = tuple(Event), owner: str = "ann"
) -> str:
    with store.write() as session:
        return endpoints.create(session, VAULT, owner, url, events, SECRET, store.now(session)).id


def batch_of(store: Store, rows: int = 1, owner: str = "ann", **values: Any) -> tuple[str, list[str]]:
    with moment(store) as (session, now):
        batch, account = add_batch(session, now, owner=owner), add_account(session, now, credential=f"{owner} {now}")
        some = range(1, rows + 1)
        return batch, [
            add_job(session, now, batch_id=batch, account_id=account, owner=owner, row=row, **values) for row in some
        ]


def moved(store: Store, job_id: str, to: Status, **values: Any) -> None:
    with moment(store) as (session, now):
        move(session, Position.of(session.get_one(Job, job_id)), to, now, "So it is.", **values)


def told(store: Store) -> list[WebhookDelivery]:
    return selected(store, select(WebhookDelivery).order_by(WebhookDelivery.created_at, WebhookDelivery.id))


def one_told(store: Store) -> WebhookDelivery:
    (only,) = told(store)
    return only


def due(store: Store, slots: int = 16, later: float = 0) -> list[DeliveryMessage]:
    """What is sent out, as if so many seconds had gone by."""
    with store.write() as session:
        return deliveries.due(session, store.now(session) + timedelta(seconds=later), slots)


def teller(store: Store, **how: Any) -> Deliveries:
    outward = EgressClient((ip_network("127.0.0.0/8"),), seconds=60)
    return Deliveries(store, VAULT, outward, how.pop("stopping", threading.Event()), **how)


def sent(store: Store, by: Deliveries | None = None, slots: int = 16) -> bool:
    """Whether the first that is due was tried."""
    notice = due(store, slots)[0]
    return (by or teller(store)).run(notice.delivery_id, notice.attempts)


def waits(store: Store, seconds: float) -> bool:
    """Whether the one that is due waits so long after another try, or up to a fifth longer by chance."""
    before = done(store, store.now)
    assert sent(store)
    until, after = one_told(store).due_at, done(store, store.now)
    return (until - before).total_seconds() >= seconds and (until - after).total_seconds() <= seconds * 1.2


# What is written, and when.


def test_an_end_and_what_is_told_of_it_come_together_or_not_at_all(store: Store) -> None:
    hook(store)
    _, (job,) = batch_of(store)
    moved(store, job, Status.RUNNING, lease_until=LONG_AGO, worker="one")

    def end_and_break() -> None:
        with store.write() as session:
            move(session, Position.of(session.get_one(Job, job)), Status.SUCCEEDED, store.now(session), "Done.")
            raise RuntimeError("the process ends here")

    with pytest.raises(RuntimeError):
        end_and_break()
    assert told(store) == []
    moved(store, job, Status.SUCCEEDED, result_size=7, result_sha256="a" * 64, result_path="1.mp4")
    assert one_told(store).event == "job.succeeded"


def test_what_is_told_of_a_row_is_how_it_stands_then_and_stays_so(store: Store) -> None:
    hook(store)
    batch, (job,) = batch_of(store, name="beach", stage=Stage.RENDER)
    with store.write() as session:
        now, account = store.now(session), session.get_one(Job, job).account_id
        add_send(session, now, job, account, cost=30)
        failed = {"error_code": "render_failed", "error": "No “luck”\u2028\U0001f600", "advice": "Try again."}
        move(session, Position.of(session.get_one(Job, job)), Status.FAILED, now, "It failed.", **failed)
    body = json.loads(one_told(store).body)
    assert body["type"] == "job.failed"
    assert datetime.fromisoformat(body["timestamp"]) == now
    where = {"id": job, "batch": batch, "row": 1, "name": "beach", "status": "failed", "stage": "render"}
    assert body["data"] == {**where, **failed, "cause": None, "credits": 30, "result": None}
    as_it_was = one_told(store).body
    with store.write() as session:
        retries.retry(session, session.get_one(Job, job), store.now(session))
    moved(store, job, Status.CANCELLED)  # neither is told
    assert one_told(store).body == as_it_was


def test_only_waits_that_a_person_can_end_are_told(store: Store) -> None:
    hook(store)
    _, jobs = batch_of(store, rows=len(Cause))
    for job, cause in zip(jobs, Cause, strict=True):
        moved(store, job, Status.WAITING, cause=cause)
    causes = {json.loads(one.body)["data"]["cause"] for one in told(store)}
    assert causes == {"credits", "plan", "token", "paused"}
    assert {one.event for one in told(store)} == {"job.waiting"}


def test_each_owner_is_told_of_its_own_and_of_what_it_asked_for(store: Store) -> None:
    all_of_it, ends = hook(store), hook(store, events=[Event.JOB_FAILED])
    hook(store, events=[Event.JOB_SUCCEEDED])
    hook(store, owner="bob")
    disabled = hook(store)
    change(store, Webhook, disabled, disabled_at=LONG_AGO)
    _, (job,) = batch_of(store)
    moved(store, job, Status.FAILED)
    assert {one.webhook_id for one in told(store)} == {all_of_it, ends}


@on_postgres
def test_a_row_ends_also_while_an_endpoint_of_its_owners_is_being_deleted(store: Store) -> None:
    kept, goes = hook(store), hook(store)
    _, (job,) = batch_of(store)
    with ThreadPoolExecutor(1) as pool, store.write() as session:
        session.execute(delete(Webhook).where(Webhook.id == goes))
        ended = pool.submit(moved, store, job, Status.FAILED)
        with pytest.raises(TimeoutError):
            ended.result(0.3)  # it waits for what becomes of the endpoint
        session.commit()
        ended.result(60)
    assert [one.webhook_id for one in told(store)] == [kept]


# When a batch has finished.


def finish(store: Store, batch: str) -> bool:
    with store.write() as session:
        return outbox.mark_finished(session, batch, store.now(session))


def ended(store: Store, since: int | None = None) -> list[str]:
    return done(store, outbox.unmarked_finished, 100, since)


def test_a_batch_has_finished_when_its_last_row_has_and_is_told_of_once(store: Store) -> None:
    hook(store, events=[Event.BATCH_FINISHED])
    batch, (first, last) = batch_of(store, rows=2)
    moved(store, first, Status.FAILED)
    assert (ended(store), finish(store, batch)) == ([], False)
    moved(store, last, Status.CANCELLED)
    assert ended(store) == [batch]
    assert (sum(together(10, lambda: finish(store, batch))), ended(store)) == (1, [])
    data = json.loads(one_told(store).body)["data"]
    counts = dict.fromkeys(map(str, Status), 0) | {"failed": 1, "cancelled": 1}
    assert data == {"id": batch, "name": "jobs", "counts": counts, "credits": 0}


@pytest.mark.parametrize("end", sorted(FINAL))
def test_a_batch_of_which_a_row_goes_on_has_not_finished_and_finishes_again(store: Store, end: Status) -> None:
    hook(store, events=[Event.BATCH_FINISHED])
    batch, (job,) = batch_of(store, status=end)
    assert finish(store, batch)
    assert found(store, Batch, batch).finished_at is not None
    moved(store, job, Status.QUEUED, run=2)
    assert found(store, Batch, batch).finished_at is None
    assert not finish(store, batch)
    moved(store, job, Status.FAILED)
    assert finish(store, batch)
    assert len(told(store)) == 2


@on_postgres
def test_a_batch_does_not_finish_while_somebody_is_about_to_open_it_again(store: Store) -> None:
    batch, (job,) = batch_of(store, status=Status.FAILED)
    with store.write() as session:
        assert retries.retry(session, session.get_one(Job, job), store.now(session))
        assert ended(store) == [batch]  # nobody sees the retry yet
        assert not finish(store, batch)
    assert found(store, Batch, batch).finished_at is None
    assert not finish(store, batch)


@on_postgres
def test_whoever_opens_a_batch_waits_for_whoever_finishes_it(store: Store) -> None:
    batch, (job,) = batch_of(store, status=Status.FAILED)
    with ThreadPoolExecutor(1) as pool, store.write() as session:
        assert outbox.mark_finished(session, batch, store.now(session))
        opened = pool.submit(moved, store, job, Status.QUEUED, run=2)
        with pytest.raises(TimeoutError):
            opened.result(0.3)
        session.commit()
        opened.result(60)
    assert found(store, Batch, batch).finished_at is None


def test_ends_are_looked_for_where_something_happened_and_now_and_then_everywhere(store: Store) -> None:
    (empty, _), (old, _) = batch_of(store, rows=0), batch_of(store, status=Status.FAILED)  # no event tells of it
    batch, (job,) = batch_of(store)
    mark = done(store, outbox.newest_event)
    assert (ended(store, since=mark), ended(store), finish(store, empty)) == ([], [old], False)
    moved(store, job, Status.FAILED)
    assert (ended(store, since=mark), sorted(ended(store))) == ([batch], sorted([old, batch]))
    FinishedBatches(store, batch).record()  # at one batch alone
    assert ended(store) == [old]


@on_postgres
def test_an_event_that_comes_to_light_late_is_not_missed(store: Store) -> None:
    finishing = FinishedBatches(store)
    finishing.record()  # everywhere, for the first time
    late, (job,) = batch_of(store)
    other, (another,) = batch_of(store)
    with store.write() as session:
        move(session, Position.of(session.get_one(Job, job)), Status.FAILED, store.now(session), "Drawn first.")
        moved(store, another, Status.FAILED)
        finishing.record()
        assert found(store, Batch, other).finished_at is not None
    finishing.record()
    assert found(store, Batch, late).finished_at is not None


# Who takes a delivery, and what comes of it.


def owed(store: Store, count: int = 1, **endpoint: Any) -> str:
    """An endpoint that is to be told of so many ends."""
    webhook = hook(store, **endpoint)
    _, jobs = batch_of(store, rows=count)
    with store.write() as session:
        for job in jobs:
            at = Position.of(session.get_one(Job, job))
            move(session, at, Status.FAILED, store.now(session), "It broke.")
    return webhook


def test_what_is_due_goes_out_once_and_again_where_nothing_was_heard_and_a_try_is_taken_by_one(store: Store) -> None:
    owed(store)
    (notice,) = due(store)
    assert (due(store), due(store, later=20)) == ([], [])
    assert due(store, later=70) == [notice]

    def race() -> bool:
        with moment(store) as (session, now):
            return deliveries.claim(session, notice.delivery_id, notice.attempts, now) is not None

    assert sum(together(10, race)) == 1
    assert one_told(store).attempts == 1


def test_one_endpoint_has_few_under_way_and_each_gets_its_turn(store: Store) -> None:
    many = owed(store, count=10)
    few = owed(store, count=2)
    sent = due(store)
    assert Counter(notice.title.partition(" · ")[2] for notice in sent) == {many: 4, few: 2}
    with moment(store) as (session, now):  # even if they are claimed after the clock was read for counting
        later = now + timedelta(seconds=1)
        assert all(deliveries.claim(session, one.delivery_id, one.attempts, later) for one in sent)
    assert due(store) == []


def test_all_of_them_take_no_more_than_their_slots_but_one_that_has_none_gets_one(store: Store) -> None:
    hooks = [hook(store) for _ in range(6)]
    _, jobs = batch_of(store, rows=5)
    for job in jobs:
        moved(store, job, Status.FAILED)
    goes = Counter(notice.title.partition(" · ")[2] for notice in due(store, slots=4))
    assert len(goes) >= 5
    assert goes.total() <= 8
    assert set(goes) <= set(hooks)
    assert due(store, slots=4) == [] or goes.total() < 8


def test_a_try_that_was_taken_for_lost_writes_nothing_any_more(store: Store) -> None:
    owed(store)
    with moment(store) as (session, now):
        first = deliveries.claim(session, one_told(store).id, 0, now)
        second = deliveries.claim(session, one_told(store).id, 1, now)
        assert first
        assert second
        assert not deliveries.record_delivered(session, first, now, 200)
        assert not deliveries.record_failure(session, first, now, "answered 500", 500, 5)
        assert deliveries.record_delivered(session, second, now, 201)
        assert not deliveries.record_failure(session, second, now, "answered 500", 500, 5)
    only = one_told(store)
    assert (only.state, only.attempts, only.status_code, only.error) == (DeliveryState.DELIVERED, 2, 201, "")


def test_what_arrives_is_signed_and_a_changed_word_is_seen(store: Store, receiver: Receiver) -> None:
    owed(store, url=receiver.url)
    assert sent(store)
    (came,) = receiver.came
    assert Verifier(SECRET).verify(came.body, came.headers)["type"] == "job.failed"
    assert came.headers["webhook-id"] == one_told(store).id
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(came.body.replace(b"failed", b"mended"), came.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(endpoints.new_secret()).verify(came.body, came.headers)
    only = one_told(store)
    assert (only.state, only.status_code, only.error) == (DeliveryState.DELIVERED, 204, "")
    assert only.delivered_at is not None


@pytest.mark.parametrize(("status", "come"), [(204, 12), (500, 1)])
def test_one_message_brings_along_what_else_is_due_there_unless_it_failed(store: Store, status: int, come: int) -> None:
    with Receiver(says(status)) as receiver:
        owed(store, count=12, url=receiver.url)
        assert sent(store, slots=1)
        assert len(receiver.came) == come
    assert {one.state for one in told(store)} == {DeliveryState.PENDING if status == 500 else DeliveryState.DELIVERED}


@on_sqlite
def test_it_is_tried_for_hours_with_growing_waits_and_then_given_up(store: Store) -> None:
    with Receiver(says(500)) as receiver:
        owed(store, url=receiver.url)
        for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 36_000):
            assert waits(store, seconds)
            change(store, WebhookDelivery, one_told(store).id, due_at=LONG_AGO)
        assert sent(store)
        assert len(receiver.came) == 8
        assert len({came.headers["webhook-id"] for came in receiver.came}) == 1
        assert len({came.body for came in receiver.came}) == 1
        only = one_told(store)
        assert (only.state, only.attempts, only.status_code) == (DeliveryState.FAILED, 8, 500)
        assert only.error == "answered 500"


@on_sqlite
def test_an_endpoint_that_asks_for_time_gets_it_up_to_an_hour(store: Store, receiver: Receiver) -> None:
    asked = [(429, "600", 600), (503, "600", 600), (503, "999999", 3600), (503, "0", 5), (500, "600", 5), (429, "?", 5)]
    asked += [(503, "-5", 5), (503, "Wed, 21 Oct 2015 07:28:00 GMT", 5)]
    for status, told_to_wait, seconds in asked:
        receiver.answer = says(status, Retry_After=told_to_wait)
        webhook = owed(store, url=receiver.url)
        assert waits(store, seconds), (status, told_to_wait)
        assert done(store, endpoints.delete_endpoint, "ann", webhook)


def test_one_that_is_gone_is_told_nothing_any_more(store: Store) -> None:
    with Receiver(says(410)) as receiver:
        webhook = owed(store, count=3, url=receiver.url)
        sent(store, slots=1)
        assert Counter((one.state, one.status_code) for one in told(store)) == {
            (DeliveryState.FAILED, 410): 1,
            (DeliveryState.FAILED, None): 2,
        }
        found = done(store, endpoints.endpoint, "ann", webhook)
        assert found is not None
        assert (found.disabled_at is not None, found.why) == (True, "answered 410")
        _, (job,) = batch_of(store)
        moved(store, job, Status.FAILED)
        assert (len(told(store)), due(store, later=100), len(receiver.came)) == (3, [], 1)


@on_sqlite
def test_a_redirect_is_no_arrival(store: Store, receiver: Receiver) -> None:
    with Receiver(says(302, Location=receiver.url)) as redirecting:
        owed(store, url=redirecting.url)
        sent(store)
    only = one_told(store)
    assert (only.state, only.status_code) == (DeliveryState.PENDING, 302)
    assert "redirects are not followed" in only.error
    assert receiver.came == []


@on_sqlite
def test_one_that_does_not_answer_in_time_is_tried_again(store: Store) -> None:
    over = threading.Event()

    def silent(_request: BaseHTTPRequestHandler) -> None:
        over.wait(60)

    with Receiver(silent) as receiver:
        owed(store, url=receiver.url)
        outward = EgressClient((ip_network("127.0.0.0/8"),), seconds=0.3)
        sent(store, Deliveries(store, VAULT, outward, threading.Event()))
        over.set()
    assert (one_told(store).state, one_told(store).error) == (DeliveryState.PENDING, "no answer in time")


@on_sqlite
@pytest.mark.parametrize(
    ("vault", "words"),
    [
        pytest.param(VAULT, "not a public address", id="an address within"),
        pytest.param(Vault("quite another key, also long"), "REELQ_SECRET_KEY", id="a secret under another key"),
    ],
)
def test_what_can_not_go_out_is_told_to_the_owner(store: Store, receiver: Receiver, vault: Vault, words: str) -> None:
    owed(store, url=receiver.url)
    assert sent(store, Deliveries(store, vault, EgressClient(), threading.Event()))
    assert words in one_told(store).error
    assert receiver.came == []


@pytest.mark.parametrize("stops", [True, False])
def test_a_worker_that_stops_sends_nothing_and_a_disabled_endpoint_gets_nothing(
    store: Store, receiver: Receiver, stops: bool
) -> None:
    webhook = owed(store, url=receiver.url)
    (notice,) = due(store)
    stopping = threading.Event()
    stopping.set() if stops else change(store, Webhook, webhook, disabled_at=LONG_AGO)
    assert not teller(store, stopping=stopping).run(notice.delivery_id, notice.attempts)
    assert receiver.came == []
    if stops:  # others take it at once
        assert (due(store), one_told(store).attempts) == ([notice], 0)
    else:
        assert (one_told(store).state, one_told(store).error) == (DeliveryState.FAILED, "the endpoint is disabled")


def test_what_was_settled_long_ago_is_forgotten_and_nothing_else(store: Store) -> None:
    owed(store, count=3)
    settled, new, pending = (one.id for one in told(store))
    with moment(store) as (session, now):
        for one, state, days in (
            (settled, DeliveryState.FAILED, 31),
            (new, DeliveryState.DELIVERED, 29),
            (pending, DeliveryState.PENDING, 31),
        ):
            at = {"state": state, "created_at": now - timedelta(days=days)}
            session.execute(update(WebhookDelivery).where(WebhookDelivery.id == one).values(**at))
        assert deliveries.delete_old(session, now, 30) == 1
    assert {one.id for one in told(store)} == {new, pending}


def test_made_twice_under_one_id_an_endpoint_is_made_once(store: Store) -> None:
    with moment(store) as (session, now):
        first, second = (
            endpoints.create(session, VAULT, "ann", "https://example.com/", [Event.JOB_FAILED], secret, now, "hook_one")
            for secret in (SECRET, endpoints.new_secret())
        )
        assert first == second
        assert endpoints.secret_of(session, VAULT, "ann", "hook_one") == SECRET


def test_two_who_make_the_last_endpoint_at_once_do_not_both_succeed(store: Store) -> None:
    for _ in range(endpoints.MAX_ENDPOINTS - 1):
        hook(store)
    made = together(6, lambda: hook(store), endpoints.TooManyEndpoints)
    assert [type(each) for each in made].count(str) == 1
