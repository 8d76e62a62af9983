"""A request that creates, sent again under its key: it is done once, and answered as before."""

import os
import signal
import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from api.deps import Service
from reelq.settings import Settings
from reelq.store import idempotency
from reelq.store.db.client_models import IdempotencyKey
from reelq.store.db.models import Batch
from reelq.store.submission import submitter
from tests.api.serving import Served, on_each_database, serving
from tests.api.test_assets import MP4
from tests.api.test_submissions import parts
from tests.databases import KINDS, add_account, add_batch, add_job, moment
from tests.forked import ForkedProcess

KEY = {"Idempotency-Key": "order-17"}
ROW = {"instruction": "Make a clip of the sea"}


def batches(served: Served) -> int:
    with served.store.read() as session:
        return session.scalar(select(func.count()).select_from(Batch)) or 0


def post(client: httpx.Client, rows: list[dict[str, Any]], **query: Any) -> httpx.Response:
    return client.post("/v1/batches", json={"rows": rows}, headers=KEY, params=query)


@on_each_database
def test_the_stored_answer_is_given_again_and_nothing_is_made_anew(ann: httpx.Client, served: Served) -> None:
    first, again = post(ann, [ROW]), post(ann, [ROW])
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert batches(served) == 1


def test_a_form_is_the_same_whatever_boundary_the_client_draws(ann: httpx.Client, served: Served) -> None:
    first, again = (ann.post("/v1/batches", files=parts(), headers=KEY) for _ in range(2))
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = ann.post("/v1/batches", files=parts(files={"clips/beach.mp4": MP4, "forest.mp4": MP4}), headers=KEY)
    assert (other.status_code, other.json()["code"]) == (422, "key_used")
    assert batches(served) == 1


@on_each_database
def test_another_request_under_the_same_key_is_refused_unless_it_is_another_owners(
    ann: httpx.Client, bob: httpx.Client, served: Served
) -> None:
    first = post(ann, [ROW]).json()
    by_path = ann.post("/v1/jobs", json=ROW, headers=KEY)
    for other in (post(ann, [ROW] * 2), post(ann, [ROW], name="other"), by_path):
        assert (other.status_code, other.json()["code"]) == (422, "key_used")
    assert batches(served) == 1
    assert post(bob, [ROW]).json()["id"] != first["id"]
    assert batches(served) == 2


@on_each_database
def test_rows_and_refinements_have_keys_as_well(ann: httpx.Client, served: Served) -> None:
    first, again = (ann.post("/v1/jobs", json=ROW, headers=KEY) for _ in range(2))
    assert first.json() == again.json()
    with moment(served.store) as (session, now):
        batch = add_batch(session, now, owner="ann")
        account = add_account(session, now, credential="another")
        told = {"owner": "ann", "remote_session_id": "s1", "status": "succeeded", "stage": "download"}
        job = add_job(session, now, batch_id=batch, account_id=account, **told)
    more = [
        ann.post(f"/v1/jobs/{job}/refine", json={"instruction": "Warmer"}, headers={"Idempotency-Key": key})
        for key in ("a", "a", "b")
    ]
    assert [each.status_code for each in more] == [201] * 3
    for words in (b"\\ud800", b"\\u0000", b"", b"x" * 20_001):
        body = b'{"instruction": "%s"}' % words
        headers = {"Content-Type": "application/json"}
        assert ann.post(f"/v1/jobs/{job}/refine", content=body, headers=headers).status_code == 422
    assert more[0].json() == more[1].json()
    assert more[1].headers["idempotent-replayed"] == "true"
    assert more[2].json()["id"] == more[0].json()["id"]  # the same is under way: it is not asked for twice


def test_a_request_that_was_refused_leaves_its_key_free(ann: httpx.Client, served: Served) -> None:
    wrong = {"file": "gone.mp4", "instruction": "Trim"}
    assert post(ann, [wrong]).status_code == post(ann, [wrong]).status_code == 422
    assert post(ann, [ROW]).status_code == 201
    assert batches(served) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\x80"])
def test_a_key_that_is_no_word_is_refused(ann: httpx.Client, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1"), "Content-Type": "application/json"}
    refused = ann.post("/v1/batches", content=b'{"rows": [{"instruction": "Make it"}]}', headers=headers)  # type: ignore[arg-type]
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


@on_each_database
def test_while_it_is_served_it_is_not_served_again(
    ann: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    real = submitter.submit

    def slow(*args: Any, **kwargs: Any) -> Any:
        reached.set()
        assert go_on.wait(60)
        return real(*args, **kwargs)

    monkeypatch.setattr(submitter, "submit", slow)
    answers: list[httpx.Response] = []
    first = threading.Thread(target=lambda: answers.append(post(ann, [ROW])))
    first.start()
    assert reached.wait(60)
    other = served.client("ann")
    meanwhile = post(other, [ROW])
    assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "under_way")
    assert 0 < int(meanwhile.headers["retry-after"]) <= 120
    assert post(other, [ROW, ROW]).json()["code"] == "key_used"
    go_on.set()
    first.join()
    assert answers[0].status_code == 201
    assert post(other, [ROW]).json() == answers[0].json()


def _serve_and_die(environment: dict[str, str], moment: str, key: str) -> None:
    """In a process of its own."""
    os.environ.update(environment)
    place, name = (submitter, "submit") if moment == "after the claim" else (idempotency, "answer")
    setattr(place, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    headers = KEY | {"Authorization": f"Bearer {key}"}
    with serving(Service.open(Settings.read())) as served:
        httpx.post(f"{served.url}/v1/batches", json={"rows": [ROW]}, headers=headers)


@pytest.mark.parametrize(
    ("service", "moment"), [("sqlite", "after the claim"), (KINDS[-1], "after the batch")], indirect=["service"]
)
def test_a_second_try_after_a_kill_makes_it_once(ann: httpx.Client, served: Served, moment: str) -> None:
    told = served.service.settings.model_dump(exclude_none=True, exclude_defaults=True)
    env = {name.upper(): getattr(value, "get_secret_value", lambda v=value: str(v))() for name, value in told.items()}
    assert ForkedProcess(_serve_and_die, env, moment, served.key("ann")).wait(60) == -signal.SIGKILL
    assert batches(served) == (moment == "after the batch")
    assert post(ann, [ROW]).status_code == 409
    with served.store.write() as session:
        made_id = session.scalar(select(IdempotencyKey.made_id))
        session.execute(update(IdempotencyKey).values(held_until=served.store.now(session) - timedelta(seconds=1)))
    again = post(ann, [ROW])
    assert (again.status_code, again.json()["id"]) == (201, made_id)
    assert batches(served) == 1
    assert post(ann, [ROW]).json() == again.json()


def test_a_fault_of_ours_leaves_the_next_try_the_same_id(
    ann: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(submitter, "submit", lambda *_, **__: 1 / 0)
        assert post(ann, [ROW]).status_code == 500
    with served.store.read() as session:
        made_id = session.scalar(select(IdempotencyKey.made_id))
    assert post(ann, [ROW]).json()["id"] == made_id


@on_each_database
def test_after_a_day_the_key_is_free(ann: httpx.Client, served: Served) -> None:
    first = post(ann, [ROW]).json()
    with served.store.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=served.store.now(session) - timedelta(hours=25)))
    assert post(ann, [ROW, ROW]).json()["id"] != first["id"]
