"""Webhooks over HTTP: made, listed, deleted, told once more; and never at an address that is not everybody's."""

from typing import Any

import httpx
from sqlalchemy import select, update

from api.deps import Service
from reelq.job import Stage, Status
from reelq.store.db.client_models import IdempotencyKey, Webhook, WebhookDelivery
from reelq.store.jobs.transitions import Position, move
from reelq.store.webhooks import deliveries
from tests.api.serving import Served, on_each_database
from tests.databases import add_account, add_batch, add_job, moment

URL = "https://example.com/hook"
OWN_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def _make(client: httpx.Client, **values: object) -> dict[str, object]:
    answer = client.post("/v1/webhooks", json={"url": URL, **values})
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    assert answer.headers["Location"] == f"/v1/webhooks/{made['id']}"
    return made


def _ended(service: Service, owner: str, rows: int = 1) -> list[str]:
    """Rows of the owner's that come to an end now; their ids."""
    with moment(service.store) as (session, now):
        batch, account = add_batch(session, now, owner=owner), add_account(session, now, credential=owner)
        ids = [
            add_job(session, now, batch_id=batch, account_id=account, owner=owner, row=row)
            for row in range(1, rows + 1)
        ]
        for job_id in ids:
            move(session, Position(job_id, batch, 1, Stage.UPLOAD, Status.QUEUED), Status.FAILED, now, "It broke.")
        return ids


def test_a_secret_is_shown_once_and_kept_locked(served: Served, ann: httpx.Client) -> None:
    made = _make(ann)
    secret = str(made.pop("secret"))
    assert secret.startswith("whsec_")
    assert ann.get(f"/v1/webhooks/{made['id']}").json() == made
    assert ann.get("/v1/webhooks").json() == {"items": [made], "next": None}
    with served.store.read() as session:
        kept = session.scalars(select(Webhook.secret)).one()
    assert secret.encode() not in kept
    assert served.service.vault.unlock(kept).get_secret_value() == secret


@on_each_database
def test_asked_again_with_the_same_word_there_is_one_webhook_and_its_secret_is_kept_nowhere_in_the_clear(
    served: Served, ann: httpx.Client
) -> None:
    asked: dict[str, Any] = {"json": {"url": URL}, "headers": {"Idempotency-Key": "once"}}
    first, second = (ann.post("/v1/webhooks", **asked) for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert first.headers["Location"] == second.headers["Location"] == f"/v1/webhooks/{first.json()['id']}"
    assert (first.headers.get("Idempotent-Replayed"), second.headers["Idempotent-Replayed"]) == (None, "true")
    assert len(ann.get("/v1/webhooks").json()["items"]) == 1
    with served.store.read() as session:
        (answer,) = session.scalars(select(IdempotencyKey.answer)).all()
    assert first.json()["id"] in answer
    assert first.json()["secret"] not in answer
    other = ann.post("/v1/webhooks", json={"url": f"{URL}/2"}, headers={"Idempotency-Key": "once"})
    assert other.status_code == 422
    ann.delete(first.headers["Location"])
    assert ann.post("/v1/webhooks", **asked).json()["secret"] is None


def test_what_is_asked_for_is_taken_if_it_makes_sense_and_else_refused(ann: httpx.Client) -> None:
    assert _make(ann, secret=OWN_SECRET)["secret"] == OWN_SECRET
    assert _make(ann)["events"] == ["job.succeeded", "job.failed", "job.waiting", "batch.finished"]
    assert _make(ann, events=["batch.finished", "batch.finished"])["events"] == ["batch.finished"]
    poor = ("whsec_", "whsec_c2hvcnQ=", "whsec_" + "!" * 32, "whsec_" + "A" * 33, OWN_SECRET.removeprefix("whsec_"))
    senseless: list[dict[str, Any]] = [{"events": ["job.begun"]}, {"events": []}, *({"secret": each} for each in poor)]
    for wrong in senseless:
        assert ann.post("/v1/webhooks", json={"url": URL, **wrong}).status_code == 422, wrong
    for url in ("file:///etc/passwd", "http://2130706433/", "https://ann:me@example.com/", "nonsense"):
        refused = ann.post("/v1/webhooks", json={"url": url})
        assert (refused.status_code, refused.json()["code"]) == (422, "address_refused")
        assert "REELQ_ALLOWED_NETWORKS" in refused.json()["advice"]
    assert len(ann.get("/v1/webhooks").json()["items"]) == 3


def test_no_owner_has_more_than_20(ann: httpx.Client, bob: httpx.Client) -> None:
    for _ in range(20):
        _make(ann)
    one_more = ann.post("/v1/webhooks", json={"url": URL})
    assert (one_more.status_code, one_more.json()["code"]) == (409, "too_many_webhooks")
    _make(bob)


@on_each_database
def test_what_is_deleted_is_gone_with_all_that_it_was_told(served: Served, ann: httpx.Client) -> None:
    made = _make(ann)
    _ended(served.service, "ann")
    assert ann.delete(f"/v1/webhooks/{made['id']}").status_code == 204
    assert ann.get(f"/v1/webhooks/{made['id']}").status_code == 404
    assert ann.delete(f"/v1/webhooks/{made['id']}").status_code == 404
    with served.store.read() as session:
        assert session.scalars(select(WebhookDelivery.id)).all() == []


@on_each_database
def test_deliveries_are_listed_in_pages_the_newest_first(served: Served, ann: httpx.Client) -> None:
    made = _make(ann)
    jobs = _ended(served.service, "ann", rows=3)
    path = f"/v1/webhooks/{made['id']}/deliveries"
    first = ann.get(path, params={"limit": 2}).json()
    rest = ann.get(path, params={"limit": 2, "cursor": first["next"]}).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    told = [*first["items"], *rest["items"]]
    assert {one["job"] for one in told} == set(jobs)
    assert [one["id"] for one in told] == sorted((one["id"] for one in told), reverse=True)
    assert {(one["event"], one["state"], one["attempts"]) for one in told} == {("job.failed", "pending", 0)}


@on_each_database
def test_what_was_given_up_is_told_once_more_under_the_same_id_unless_its_webhook_is_disabled(
    served: Served, ann: httpx.Client, bob: httpx.Client
) -> None:
    made = _make(ann)
    _ended(served.service, "ann")
    path = f"/v1/webhooks/{made['id']}/deliveries"
    (one,) = ann.get(path).json()["items"]
    with served.store.write() as session:
        letter = deliveries.claim(session, one["id"], 0, served.store.now(session))
        assert letter is not None
        deliveries.record_failure(session, letter, served.store.now(session), "answered 500", 500, None)
    (failed,) = ann.get(path).json()["items"]
    assert (failed["state"], failed["status_code"], failed["error"]) == ("failed", 500, "answered 500")
    assert bob.post(f"/v1/webhooks/{_make(bob)['id']}/deliveries/{one['id']}/redeliver").status_code == 404
    again = ann.post(f"{path}/{one['id']}/redeliver")
    assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (202, "pending", 1)
    with served.store.write() as session:
        (notice,) = deliveries.due(session, served.store.now(session), 4)
        assert (notice.delivery_id, notice.attempts) == (one["id"], 1)
        hook = update(Webhook).where(Webhook.id == made["id"])
        session.execute(hook.values(disabled_at=served.store.now(session), why="answered 410"))
    refused = ann.post(f"{path}/{one['id']}/redeliver")
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_disabled")
    assert ann.get(f"/v1/webhooks/{made['id']}").json()["why"] == "answered 410"
