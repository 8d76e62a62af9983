"""Flower before a real worker, looked at with Chromium: what is seen, who sees it, and what Flower can not do."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from reelq.job import PIPELINE
from tests.acceptance.running import Forked, until
from tests.queue.farm import CLIP, Farm, farm
from tests.servers import CHROMIUM, HAS_REDIS, free_port

pytestmark = pytest.mark.skipif(not HAS_REDIS, reason="needs Redis")
PASSWORD: Final = ("ann", "hush")
GUARDED: Final = {"FLOWER_BASIC_AUTH": ":".join(PASSWORD)}
FAULTS: Final[dict[str, object]] = {"render_stuck": {"count": 1}, "agent_error": {"count": 1}}
"""One export comes to no end, and one row fails."""
_QUIET: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
"""With the last, no name leads anywhere: whatever the pages need has to come from Flower itself."""


class Flower:
    """`celery -A worker flower`, from a folder that knows nothing of its configuration."""

    def __init__(self, farm: Farm, *words: str, **environment: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        env = {name: value for name, value in farm.environment().items() if not name.startswith("FLOWER_")}
        command = ["-m", "celery", "-A", "worker", "flower", f"--port={port}", *words]
        self.process = Forked(command, cwd=farm.folder, env=env | environment, log=farm.folder / f"flower{port}.log")

    def answers(self) -> bool:
        """Whether it can be asked; it must not have ended."""
        assert self.process.poll() is None, self.process.text
        with suppress(httpx.TransportError):
            return self.asks("/healthcheck", password=None).is_success
        return False

    def asks(self, path: str, password: tuple[str, str] | None = PASSWORD, **query: str) -> httpx.Response:
        """Its answer to somebody with this password."""
        return httpx.get(self.url + path, auth=password, params=query, timeout=30, trust_env=False)

    def workers(self) -> list[str]:
        """Those that it knows."""
        asked = self.asks("/api/workers", refresh="1")
        return list(asked.json()) if asked.is_success else []

    def stages(self, batch: str) -> dict[str, str]:
        """What it knows of the stages of a batch of one row."""
        asked = self.asks("/api/tasks").raise_for_status().json()
        return {task["name"]: task["state"] for task in asked.values() if batch in task["args"]}

    def stop(self) -> int:
        """As systemd or Docker would; its exit code."""
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def flower(farm: Farm, **environment: str) -> Iterator[Flower]:
    """Flower, once it answers."""
    made = Flower(farm, **environment)
    try:
        until(made.answers, "Flower answers")
        yield made
    finally:
        made.process.kill()
        made.process.wait()


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A worker with nothing to do yet."""
    folder = tmp_path_factory.mktemp("watched")
    for clip in ("beach.mp4", "talk.mp4"):
        (folder / clip).write_bytes(CLIP.read_bytes())
    waits: dict[str, Any] = {"reelq_poll_interval": 1.0, "reelq_poll_limit": 1000}
    with farm("redis", folder, faults=FAULTS, database_kind="sqlite", **waits) as made:
        made.start_worker()
        yield made


@pytest.fixture(scope="module")
def watched(queue: Farm) -> Iterator[Flower]:
    """Flower before that worker, and three rows: one done, one failed, one whose export comes to no end."""
    with flower(queue, **GUARDED) as made:
        until(made.workers, "Flower knows the worker")
        batch = queue.submit([f"{clip}.mp4,Add a title that says {clip}" for clip in ("beach", "beach", "talk")])
        until(lambda: {"succeeded", "agent_failed"} <= queue.ends(batch).keys(), "one done, one failed")
        until(lambda: max(job.looks for job in queue.jobs(batch)) > 1, "an export was looked at twice")
        yield made


@pytest.fixture
def looking(watched: Flower) -> Iterator[Page]:
    """A page of somebody who knows the password, in a Chromium without a window."""
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET)) as browser,
    ):
        name, password = PASSWORD
        yield browser.new_page(base_url=watched.url, http_credentials={"username": name, "password": password})


def tasks(page: Page) -> list[dict[str, str]]:
    """What the table of tasks shows now, a column's heading for each cell; it fetches its rows by itself."""
    with page.expect_response("**/tasks/datatable"):
        page.goto("/tasks")
    with page.expect_response("**/tasks/datatable"):
        page.select_option("#tasks-table_length select", "100")
    page.wait_for_selector(".dataTables_processing", state="hidden")
    names = [heading.lower() for heading in page.locator(".dataTables_scrollHead thead th").all_inner_texts()]
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    rows: list[list[str]] = page.locator("#tasks-table tbody tr").evaluate_all(cells)
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def _with(seen: list[dict[str, str]], state: str) -> list[dict[str, str]]:
    return [task for task in seen if task["state"] == state]


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
    assert waits["exception"].startswith("rendering; checking again at ")
    assert waits["received"]  # by which Flower sorts
    assert int(waits["retries"]) > 0
    looking.click(f"a[href$='/task/{waits['uuid']}']")
    looking.wait_for_selector("#task-page")
    assert "rendering; checking again at " in looking.inner_text("#task-page")
    assert "Traceback" not in looking.inner_text("#task-page")
    assert asked
    assert [url for url in asked if not url.startswith((watched.url, "data:"))] == []


def test_without_the_password_nothing_is_shown(watched: Flower) -> None:
    for path in ("/", "/tasks", "/broker", "/api/workers", "/api/tasks"):
        for password in (None, ("ann", "hash")):
            answer = watched.asks(path, password)
            assert (answer.status_code, answer.text in {"Access denied", ""}) == (401, True), path
        assert watched.asks(path).is_success or path == "/api/workers"
    for path in ("/metrics", "/healthcheck"):  # Flower lets anybody ask these: they count, and name no row
        told = watched.asks(path, None).text
        assert "row " not in told
        assert "beach.mp4" not in told


def test_flower_changes_nothing(watched: Flower, queue: Farm) -> None:
    (worker,) = watched.workers()
    (waits,) = queue.sql("select id from jobs where status = 'queued' or status = 'running'")
    wishes = (f"worker/shutdown/{worker}", f"worker/queue/cancel-consumer/{worker}?queue=reelq",
              f"task/revoke/{waits.id}.poll.1", f"task/rate-limit/poll?workername={worker}&ratelimit=1")  # fmt: skip
    for wish in wishes:
        answer = httpx.post(f"{watched.url}/api/{wish}", auth=PASSWORD, trust_env=False)
        assert (answer.status_code, answer.text) == (403, "Read only mode is enabled"), wish
    page = watched.asks(f"/worker/{worker}").raise_for_status().text
    assert 'id="workername"' in page
    assert not [button for button in ("worker-shutdown", "btn-danger") if button in page]
    assert queue.workers[0].poll() is None


def test_what_was_seen_is_still_there_when_flower_starts_again(queue: Farm, watched: Flower) -> None:
    home = {**GUARDED, "REELQ_DATA_DIR": str(queue.folder / "other data")}
    with flower(queue, **home) as first:
        until(first.workers, "Flower knows the worker")
        batch = queue.submit(["talk.mp4,Add a title that says Again"], name="again")
        assert queue.ended(batch, 60) == {"succeeded": 1}
        until(lambda: first.stages(batch) == dict.fromkeys(PIPELINE, "SUCCESS"), "all of it is seen")
        assert first.stop() == 0
    assert [path for path in (queue.folder / "other data").iterdir() if path.name.startswith("flower.db")]
    with flower(queue, **home) as second:
        assert second.stages(batch) == dict.fromkeys(PIPELINE, "SUCCESS")


def test_where_others_could_look_flower_does_not_start_without_a_password(queue: Farm) -> None:
    refused = Flower(queue, "--address=::", "--basic-auth=ann", FLOWER_ADDRESS="127.0.0.1")
    try:
        assert refused.process.wait(60) == 1
    finally:
        refused.process.kill()
    assert "Flower does not start: " in refused.process.text
    assert "Set FLOWER_BASIC_AUTH=NAME:PASSWORD" in refused.process.text
    assert "Traceback" not in refused.process.text


def test_without_a_password_this_machine_alone_reaches_flower(queue: Farm) -> None:
    with flower(queue, FLOWER_DB=str(queue.folder / "alone.db"), FLOWER_TASKS_COLUMNS="name,state") as alone:
        page = alone.asks("/tasks", None)
        assert (page.status_code, page.text.count("data-column=")) == (200, 2)  # what the environment says goes first
        assert alone.asks("/api/tasks", None).status_code == 401
        with pytest.raises(httpx.ConnectError):  # this would be answered if it listened everywhere
            httpx.get(alone.url.replace("127.0.0.1", "127.0.0.2"), trust_env=False)
        assert alone.stop() == 0
    assert list(queue.folder.glob("alone.db*"))
