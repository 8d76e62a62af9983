"""Two owners: whatever route there is, nothing of one is to be seen or changed by the other."""

import json
import re
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import insert

from api.app import ROUTES
from api.routing import Route
from reelq.store.db.client_models import DeliveryState, WebhookDelivery
from reelq.store.db.types import new_id
from tests.api.serving import Served, kept, on_each_database
from tests.api.stock import fill
from tests.databases import moment

_PARAMETER: Final = re.compile(r"{(\w+)}")
_OPEN: Final = {"/healthz", "/readyz"}
_NOBODYS: Final = {"/v1/skills"}
"""The same for everybody: there is nothing of anybody's in it."""
_EVERYBODYS: Final = {"/metrics"}
"""Figures of all owners together, for a key that opens nothing else; see `test_metrics.py`."""
_BODIES: Final[dict[str, Any]] = {"/v1/jobs/{job_id}/refine": {"instruction": "Make it darker"}}


@pytest.fixture
def anns(served: Served, ann: httpx.Client, clip: Path) -> dict[str, str]:
    """What ann has, by the name that it has in a path."""
    stock = fill(served.store, "ann")
    asset = ann.post("/v1/assets", params={"name": "anns.mp4"}, content=clip.read_bytes()).raise_for_status().json()
    hook = ann.post("/v1/webhooks", json={"url": "https://example.com/anns"}).raise_for_status().json()
    ids = {"batch_id": stock.batch, "job_id": stock.jobs["failed"], "webhook_id": hook["id"]}
    delivery = ids | {"id": new_id("msg"), "event": "job.failed", "body": "{}", "attempts": 8}
    with moment(served.store) as (session, now):
        state = {"state": DeliveryState.FAILED, "due_at": now, "created_at": now}
        session.execute(insert(WebhookDelivery).values(**delivery, **state))
    return ids | {"asset_id": asset["id"], "delivery_id": delivery["id"]}


def _ask(client: httpx.Client, line: Route, names: dict[str, str]) -> httpx.Response:
    """By the route's path with these names in it; one that is new and has another parameter fails here."""
    path = _PARAMETER.sub(lambda found: names[found[1]], line.path)
    return client.request(line.method, path, json=_BODIES.get(line.path))


def _with_ids() -> list[Route]:
    return [line for line in ROUTES if "{" in line.path]


def _seen(client: httpx.Client, names: dict[str, str]) -> list[Any]:
    """All that can be read by name, as it stands; without the moments of looking."""
    reads = [line for line in _with_ids() if line.method == "GET" and line.answers is not None]
    told = [_ask(client, line, names).json() for line in reads]
    return [{name: value for name, value in one.items() if name != "at"} for one in told]


@on_each_database
def test_what_has_a_name_is_not_there_for_another_owner_whatever_is_asked_of_it(
    ann: httpx.Client, bob: httpx.Client, anns: dict[str, str]
) -> None:
    before = _seen(ann, anns)
    nobodys = {name: re.sub(r"[0-9a-z]{10}$", "0123456789", word) for name, word in anns.items()}
    for line in _with_ids():
        refused = _ask(bob, line, anns)
        unknown = _ask(bob, line, nobodys)
        assert (refused.status_code, refused.text) == (404, unknown.text), line.path
        assert not any(word in refused.text for word in anns.values())
    assert _seen(ann, anns) == before


def test_the_same_questions_are_answered_to_the_owner(served: Served, ann: httpx.Client, anns: dict[str, str]) -> None:
    """Else the test above would show nothing."""
    lines = sorted(_with_ids(), key=lambda line: line.method == "DELETE")
    for line in lines:
        if line.path.endswith("/events"):
            continue  # it goes on for as long as the rows do
        if line.path.endswith("/output"):
            assert "no_result" in _ask(ann, line, anns).text or line.method == "HEAD"
            continue
        assert _ask(ann, line, anns).status_code in {200, 201, 202, 204, 409}, line.path


def test_lists_and_sums_hold_nothing_of_another_owner(bob: httpx.Client, anns: dict[str, str]) -> None:
    lines = [line for line in ROUTES if line.method == "GET" and "{" not in line.path]
    for line in lines:
        if line.path in _OPEN | _NOBODYS | _EVERYBODYS:
            continue
        told = bob.get(line.path).raise_for_status()
        assert not any(word in told.text for word in (*anns.values(), "ann")), line.path
    assert bob.get("/v1/credits").json()["spent"] == {"day": 0, "week": 0, "all": 0}


def test_what_is_made_can_hold_nothing_of_another_owner(
    served: Served, bob: httpx.Client, anns: dict[str, str], clip: Path
) -> None:
    makes = {line.path for line in ROUTES if line.method == "POST" and "{" not in line.path}
    assert makes == {"/v1/batches", "/v1/jobs", "/v1/assets", "/v1/webhooks"}, "a new one has to be tried here"
    for asset in (anns["asset_id"], f"sha256:{'0' * 64}"):  # one that nobody has is not there either
        row = {"file": asset, "instruction": "Trim to 5 s"}
        for path, body in (("/v1/jobs", row), ("/v1/batches", {"rows": [row]})):
            refused = bob.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (422, "manifest_error")
            assert [one["message"] for one in refused.json()["faults"]] == ["you have not uploaded this asset"]
    by_name = {"rows": [{"file": "anns.mp4", "instruction": "Trim"}], "assets": {"anns.mp4": anns["asset_id"]}}
    assert bob.post("/v1/batches", json=by_name).status_code == 422
    upload = bob.post("/v1/assets", params={"name": "bobs.mp4"}, content=clip.read_bytes())
    assert (upload.status_code, upload.json()["name"]) == (201, "bobs.mp4")  # not: you need not, somebody has it
    assert len(kept(served)) == 1
    assert bob.post("/v1/webhooks", json={"url": "https://example.com/anns"}).status_code == 201


def test_streams_tell_nothing_of_another_owner(served: Served, ann: httpx.Client, bob: httpx.Client) -> None:
    anns, bobs = fill(served.store, "ann"), fill(served.store, "bob")
    told = bob.get(f"/v1/batches/{bobs.ended_batch}/events").text
    assert "bob's row 1 was touched" in told
    assert "ann" not in told
    # A mark of another's stream is a place in time, not a way in.
    mark = re.findall(r"^id: (.*)$", ann.get(f"/v1/batches/{anns.ended_batch}/events").text, re.MULTILINE)[0]
    again = bob.get(f"/v1/batches/{bobs.ended_batch}/events", headers={"Last-Event-ID": mark}).text
    assert "ann" not in again
    assert json.dumps(anns.ids)[2:20] not in again
