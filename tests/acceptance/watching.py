"""Somebody who watches the queue: Flower before a real worker, and Chromium before Flower."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import httpx
import pytest
from playwright.sync_api import Browser, HttpCredentials, Page, ViewportSize, sync_playwright

from tests.acceptance.running import Forked, until
from tests.queue.farm import Farm
from tests.servers import CHROMIUM, free_port

PASSWORD: Final = ("ann", "hush")
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
"""With the last, no name leads anywhere: whatever the pages need has to come from Flower itself."""


class Flower:
    """`celery -A worker flower`, from a folder that knows nothing of its configuration."""

    def __init__(self, farm: Farm, *words: str, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = farm.folder / f"flower{self.port}.log"
        env = {**_without_flower(farm.environment()), **environment}
        command = ["-m", "celery", "-A", "worker", "flower", f"--port={self.port}", *words]
        with self._log.open("wb") as log:
            self.process = Forked(command, cwd=farm.folder, env=env, stdout=log, stderr=log)

    @property
    def text(self) -> str:
        """What it has written."""
        return self._log.read_text(encoding="utf-8")

    def answers(self) -> bool:
        """Whether it can be asked; it must not have ended."""
        assert self.process.poll() is None, self.text
        try:
            return httpx.get(f"{self.url}/healthcheck", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """As systemd or Docker would; its exit code."""
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def flower(farm: Farm, *words: str, **environment: str) -> Iterator[Flower]:
    """Flower, once it answers."""
    made = Flower(farm, *words, **environment)
    try:
        until(made.answers, "Flower answers")
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def _without_flower(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("FLOWER_")}


def chromium() -> str:
    """Where it is installed."""
    return CHROMIUM or pytest.skip("needs Chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window, with a profile that is new."""
    with ExitStack() as stack:
        playwright = stack.enter_context(sync_playwright())
        made = playwright.chromium.launch(executable_path=chromium(), args=list(_QUIET))
        stack.callback(made.close)
        yield made


@contextmanager
def page(
    browser: Browser,
    flower: Flower,
    *,
    password: tuple[str, str] | None = PASSWORD,
    height: int = 900,
) -> Iterator[Page]:
    """A page of Flower's, for somebody with this password."""
    credentials: HttpCredentials | None = {"username": password[0], "password": password[1]} if password else None
    size: ViewportSize = {"width": 1400, "height": height}
    with browser.new_context(base_url=flower.url, http_credentials=credentials, viewport=size) as context:
        yield context.new_page()


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
