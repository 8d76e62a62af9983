"""What can be read and asked of batches and jobs: lists in pages, filters, results, actions, credits, skills."""

from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from reelq.job import Status
from reelq.store.billing import accounts
from reelq.store.db.models import CreditReading, Job
from tests.api.serving import Served, on_each_database
from tests.api.stock import Stock, fill
from tests.databases import add_account, add_batch, add_job, add_send, change, moment

pytestmark = on_each_database  # most of it is SQL


@pytest.fixture
def stock(served: Served) -> Stock:
    return fill(served.store, "ann")


def pages(client: httpx.Client, path: str, **params: Any) -> list[list[dict[str, Any]]]:
    """Every page of a list."""
    found: list[list[dict[str, Any]]] = []
    cursor: dict[str, str] = {}
    while True:
        told = client.get(path, params=params | cursor).raise_for_status().json()
        found.append(told["items"])
        if told["next"] is None:
            return found
        cursor = {"cursor": told["next"]}


def test_batches_come_in_pages_the_newest_first_whatever_is_added_meanwhile(served: Served, ann: httpx.Client) -> None:
    with moment(served.store) as (session, now):
        account = add_account(session, now)
        ids = [add_batch(session, now, owner="ann", id=f"bat_{number:022d}", name=f"{number}") for number in range(5)]
        add_batch(session, now, owner="ann", id=f"bat_{9:022d}", name="its rows were taken along")
        for batch in ids:
            add_job(session, now, batch_id=batch, account_id=account, owner="ann", status=Status.CANCELLED)
    found = pages(ann, "/v1/batches", limit=2)
    assert [[one["id"] for one in some] for some in found] == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    first = found[0][0]
    assert (first["name"], first["state"], first["total"], first["counts"]["cancelled"]) == ("4", "active", 1, 1)


def test_a_batch_tells_where_its_rows_are_what_moves_what_failed_and_what_waits(
    ann: httpx.Client, stock: Stock
) -> None:
    batch = ann.get(f"/v1/batches/{stock.batch}").json()
    assert batch["total"] == 6
    assert set(batch["counts"].values()) == {1}
    assert (batch["credits"], batch["shared"], batch["at_rest"], batch["held"]) == (14, False, False, 0)
    assert [(one["job"], one["status"]) for one in batch["moving"]] == [(stock.jobs["running"], "running")]
    assert {"stage": "edit", "status": "waiting", "cause": "credits", "count": 1} in batch["places"]
    assert batch["failures"] == [
        {"code": "no_effect", "count": 1, "rows": [5], "words": "Nothing changed", "advice": "Ask again"}
    ]
    assert [(one["code"], one["rows"]) for one in batch["waits"]] == [("credits", [3])]
    assert not {"source", "out", "owner"} & set(batch)


def test_rows_come_in_order_by_pages_and_by_what_they_are(ann: httpx.Client, stock: Stock) -> None:
    path = f"/v1/batches/{stock.batch}/jobs"
    assert [[one["row"] for one in some] for some in pages(ann, path, limit=4)] == [[1, 2, 3, 4], [5, 6]]
    for asked, row in (
        ({"status": "running"}, 2), ({"stage": "edit"}, 3), ({"error_code": "no_effect"}, 5), ({"cause": "credits"}, 3),
    ):  # fmt: skip
        assert [one["row"] for some in pages(ann, path, **asked) for one in some] == [row], asked
    assert pages(ann, path, status="failed", stage="edit") == [[]]


def test_a_row_tells_its_whole_story_and_nothing_of_the_other_side(ann: httpx.Client, stock: Stock) -> None:
    job = ann.get(f"/v1/jobs/{stock.jobs['succeeded']}").json()
    assert (job["batch"], job["row"], job["status"], job["credits"]) == (stock.batch, 4, "succeeded", 7)
    assert job["result"] == {"size": 9, "sha256": "a" * 64, "href": f"/v1/jobs/{job['id']}/output"}
    assert [(send["number"], send["outcome"], send["cost"]) for send in job["sends"]] == [(1, "applied", 7)]
    assert [one["words"] for one in job["events"]] == ["ann's row 4 was touched"]
    hidden = ("remote", "worker", "lease", "token", "raw", "owner", "path", "account")
    assert not [name for name in job if any(word in name for word in hidden)]
    assert ann.get(f"/v1/jobs/{stock.jobs['failed']}").json()["result"] is None


def test_results_are_the_manifest_with_what_came_of_it(ann: httpx.Client, stock: Stock) -> None:
    told = ann.get(f"/v1/batches/{stock.batch}/results.csv")
    assert told.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert stock.batch in told.headers["Content-Disposition"]
    lines = told.text.splitlines()
    assert lines[0].removeprefix("\ufeff").startswith("status,output,failed_stage")
    assert len(lines) == 7


def test_batches_and_rows_are_acted_upon_as_often_as_one_likes(ann: httpx.Client, stock: Stock) -> None:
    def ask(what: str, status: str = "") -> tuple[int, int, int, str]:
        path = f"jobs/{stock.jobs[status]}" if status else f"batches/{stock.batch}"
        told = ann.post(f"/v1/{path}/{what}").raise_for_status().json()
        return told["done"], told["soon"], told["not_so"], told["job"]["status"] if status else told["batch"]["state"]

    assert ask("pause") == (2, 1, 0, "paused")
    assert ask("pause")[3] == "paused"
    assert ask("resume") == (2, 0, 0, "active")
    assert ask("resume") == (0, 0, 0, "active")
    assert ask("cancel") == (2, 1, 3, "cancelled")
    assert ask("cancel") == (0, 1, 5, "cancelled")
    assert ask("retry") == (1, 0, 5, "active")  # the failed one
    assert ask("retry") == (0, 0, 6, "active")
    assert ask("cancel", "failed") == (1, 0, 0, "cancelled")
    assert ask("cancel", "failed") == (0, 0, 1, "cancelled")
    assert ask("cancel", "running") == (0, 1, 0, "running")
    assert ask("retry", "failed") == (1, 0, 0, "queued")
    assert ask("retry", "failed") == (0, 0, 1, "queued")


def test_a_refinement_whose_session_is_lost_is_refused_as_described(ann: httpx.Client, served: Served) -> None:
    row = {"file": "https://cdn.example/a.mp4", "instruction": "Add a title"}
    first = ann.post("/v1/jobs", json=row).json()["id"]
    change(served.store, Job, first, remote_session_id="ses_1", status=Status.SUCCEEDED)
    refined = ann.post(f"/v1/jobs/{first}/refine", json={"instruction": "Warmer"}).json()["id"]
    change(served.store, Job, refined, status=Status.FAILED, cause=None, error_code="session_lost")
    refused = ann.post(f"/v1/jobs/{refined}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_refine")
    assert "409" in served.app.openapi()["paths"]["/v1/jobs/{job_id}/retry"]["post"]["responses"]


def test_credits_are_the_last_reading_and_what_the_owner_spent(served: Served, ann: httpx.Client) -> None:
    assert ann.get("/v1/credits").json()["balance"] is None
    account = accounts.account_for(served.store, served.service.vault, served.service.settings)
    with moment(served.store) as (session, now):
        read = {"account_id": account, "at": now, "moment": "asked", "available": 90, "frozen": 10}
        session.execute(insert(CreditReading).values(**read))
        for owner, cost in (("ann", 7), ("bob", 30)):
            batch = add_batch(session, now, owner=owner)
            job = add_job(session, now, batch_id=batch, account_id=account, owner=owner)
            add_send(session, now, job, account, cost=cost)
    told = ann.get("/v1/credits").json()
    assert (told["balance"]["available"], told["balance"]["frozen"], told["spent"]["all"]) == (90, 10, 7)


def test_skills_are_those_that_a_row_can_ask_for(served: Served, ann: httpx.Client) -> None:
    names = [one["name"] for one in ann.get("/v1/skills").json()["items"]]
    assert {"video-models", "ai-video-face-swap"} <= set(names)
    assert names == sorted(served.service.skills)
