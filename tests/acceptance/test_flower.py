"""Flower before a real worker, looked at with Chromium: what is seen, who sees it, and what Flower can not do."""

from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as Refused

from reelq.job import PIPELINE
from tests.acceptance.running import until
from tests.acceptance.watching import PASSWORD, Flower, browser, flower, page, tasks
from tests.queue.farm import CLIP, Farm, farm
from tests.servers import HAS_REDIS

pytestmark = pytest.mark.skipif(not HAS_REDIS, reason="needs Redis")
GUARDED: Final = {"FLOWER_BASIC_AUTH": ":".join(PASSWORD)}
FAULTS: Final[dict[str, object]] = {"render_stuck": {"count": 1}, "agent_error": {"count": 1}}
"""One export comes to no end, and one row fails."""


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A worker with nothing to do yet."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "beach.mp4").write_bytes(CLIP.read_bytes())
    (folder / "talk.mp4").write_bytes(CLIP.read_bytes())
    waits: dict[str, Any] = {"reelq_poll_interval": 1.0, "reelq_poll_limit": 1000}
    with farm("redis", folder, faults=FAULTS, database_kind="sqlite", **waits) as made:
        made.start_worker()
        yield made


@pytest.fixture(scope="module")
def watched(queue: Farm) -> Iterator[Flower]:
    """Flower before that worker, and three rows: one done, one failed, one whose export comes to no end."""
    with flower(queue, **GUARDED) as made:
        until(lambda: _api(made, "workers"), "Flower knows the worker")
        batch = queue.submit([f"{clip}.mp4,Add a title that says {clip}" for clip in ("beach", "beach", "talk")])
        until(lambda: _ends(queue, batch) == {"", "succeeded", "agent_failed"}, "one done, one failed, one on its way")
        until(lambda: max(job.looks for job in queue.jobs(batch)) > 1, "an export was looked at twice")
        yield made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def looking(chromium: Browser, watched: Flower) -> Iterator[Page]:
    """A page of somebody who knows the password."""
    with page(chromium, watched) as made:
        yield made


def _api(flower: Flower, what: str) -> dict[str, object]:
    asked = httpx.get(f"{flower.url}/api/{what}", auth=PASSWORD, params={"refresh": 1}, timeout=30, trust_env=False)
    return dict(asked.json()) if asked.is_success else {}


def _ends(queue: Farm, batch: str) -> set[str]:
    return {job.error_code or ("succeeded" if job.finished_at else "") for job in queue.jobs(batch)}


def test_the_worker_its_rows_and_their_stages_are_seen_on_pages_that_need_nothing_from_elsewhere(
    looking: Page, watched: Flower, queue: Farm
) -> None:
    asked: list[str] = []
    looking.on("request", lambda request: asked.append(request.url))
    looking.goto("/")
    looking.wait_for_function("document.getElementById('workers-online').innerText === '1'")
    seen: list[dict[str, str]] = []

    def waits_for_an_export() -> bool:
        seen[:] = tasks(looking)
        return bool(_with(seen, "RETRY"))

    until(waits_for_an_export, "a poll is seen as RETRY")

    done = next(job for job in queue.sql("select row, file, batch_id from jobs where status = 'succeeded'"))
    title = f"row {done.row} · {done.file} · {done.batch_id}"
    ended = [task for task in seen if task["args"] == title]
    assert {task["name"]: task["state"] for task in ended} == dict.fromkeys(PIPELINE, "SUCCESS")
    assert all(task["worker"] == ended[0]["worker"] and task["runtime"] for task in ended)

    ((row, stage, error),) = queue.sql("select row, stage, error from jobs where status = 'failed'")
    (failed,) = _with(seen, "FAILURE")
    assert (failed["name"], failed["exception"]) == (stage, error)
    assert failed["args"].startswith(f"row {row} · ")

    (waits,) = _with(seen, "RETRY")
    assert waits["name"] == "poll"
    assert waits["args"].startswith("row ")
    assert waits["exception"].startswith("rendering; again at ")
    assert waits["received"]  # by which Flower sorts
    assert int(waits["retries"]) > 0
    looking.click(f"a[href$='/task/{waits['uuid']}']")
    looking.wait_for_selector("#task-page")
    assert "rendering; again at " in looking.inner_text("#task-page")
    assert "Traceback" not in looking.inner_text("#task-page")
    assert asked
    assert [url for url in asked if not url.startswith((watched.url, "data:"))] == []


def _with(seen: list[dict[str, str]], state: str) -> list[dict[str, str]]:
    return [task for task in seen if task["state"] == state]


def test_without_the_password_nothing_is_shown(chromium: Browser, watched: Flower) -> None:
    with page(chromium, watched, password=None) as outside:
        for path in ("/", "/tasks", "/broker", "/api/workers", "/api/tasks"):
            answer = outside.request.get(path)
            assert answer.status == 401, path
            assert answer.text() in ("Access denied", ""), path
        with pytest.raises(Refused, match="ERR_INVALID_AUTH_CREDENTIALS"):  # a person would be asked for one
            outside.goto("/tasks")
    with page(chromium, watched, password=("ann", "hash")) as outside:
        outside.goto("/tasks")
        assert outside.inner_text("body") == "Access denied"
    for path in ("/metrics", "/healthcheck"):  # Flower lets anybody ask these: they count, and name no row
        told = httpx.get(watched.url + path, trust_env=False).text
        assert "row " not in told
        assert "beach.mp4" not in told


def test_flower_changes_nothing(looking: Page, watched: Flower, queue: Farm) -> None:
    (worker,) = _api(watched, "workers")
    (waits,) = queue.sql("select id from jobs where status = 'queued' or status = 'running'")
    wishes = (f"worker/shutdown/{worker}", f"worker/queue/cancel-consumer/{worker}?queue=reelq",
              f"task/revoke/{waits.id}.poll.1", f"task/rate-limit/poll?workername={worker}&ratelimit=1")  # fmt: skip
    for wish in wishes:
        answer = httpx.post(f"{watched.url}/api/{wish}", auth=PASSWORD, trust_env=False)
        assert (answer.status_code, answer.text) == (403, "Read only mode is enabled"), wish
    looking.goto(f"/worker/{worker}")
    looking.wait_for_selector("#workername", state="attached")
    assert looking.locator("#worker-shutdown, .btn-danger").count() == 0
    assert queue.workers[0].poll() is None


def test_what_was_seen_is_still_there_when_flower_starts_again(queue: Farm, watched: Flower) -> None:
    home = {**GUARDED, "REELQ_DATA_DIR": str(queue.folder / "other data")}
    with flower(queue, **home) as first:
        until(lambda: _api(first, "workers"), "Flower knows the worker")
        batch = queue.submit(["talk.mp4,Add a title that says Again"], name="again")
        assert queue.ended(batch, 60) == {"succeeded": 1}
        until(lambda: _of(first, batch) == dict.fromkeys(PIPELINE, "SUCCESS"), "all of it is seen")
        assert first.stop() == 0
    assert [path for path in (queue.folder / "other data").iterdir() if path.name.startswith("flower.db")]
    with flower(queue, **home) as second:
        assert _of(second, batch) == dict.fromkeys(PIPELINE, "SUCCESS")


def _of(flower: Flower, batch: str) -> dict[str, str]:
    """What it knows of the stages of a batch of one row."""
    asked = httpx.get(f"{flower.url}/api/tasks", auth=PASSWORD, trust_env=False).raise_for_status().json()
    return {task["name"]: task["state"] for task in asked.values() if batch in task["args"]}


@pytest.mark.parametrize(
    ("words", "environment"), [([], {"FLOWER_ADDRESS": "0.0.0.0"}), (["--address=::", "--basic-auth=ann"], {})]
)
def test_where_others_could_look_flower_does_not_start_without_a_password(
    queue: Farm, words: list[str], environment: dict[str, str]
) -> None:
    refused = Flower(queue, *words, **environment)
    try:
        assert refused.process.wait(60) == 1
    finally:
        refused.process.kill()
    assert "Flower does not start: " in refused.text
    assert "Set FLOWER_BASIC_AUTH=NAME:PASSWORD" in refused.text
    assert "Traceback" not in refused.text


def test_without_a_password_this_machine_alone_reaches_flower(queue: Farm) -> None:
    with flower(queue, FLOWER_DB=str(queue.folder / "alone.db"), FLOWER_TASKS_COLUMNS="name,state") as alone:
        page = httpx.get(f"{alone.url}/tasks", trust_env=False)
        assert (page.status_code, page.text.count("data-column=")) == (200, 2)  # what the environment says goes first
        assert httpx.get(f"{alone.url}/api/tasks", trust_env=False).status_code == 401
        with pytest.raises(httpx.ConnectError):  # this would be answered if it listened everywhere
            httpx.get(f"http://127.0.0.2:{alone.port}/healthcheck", trust_env=False)
        assert alone.stop() == 0
    assert list(queue.folder.glob("alone.db*"))
