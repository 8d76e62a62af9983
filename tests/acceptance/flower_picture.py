"""Takes docs/flower.png: `python -m tests.acceptance.flower_picture`. Needs a redis-server and a Chromium.

Real workers, the stand-in service, and rows as people have them; the picture is taken when the first page shows a good
many of the things that can be seen.
"""

import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

from reelq.job import PIPELINE
from tests.acceptance.running import until
from tests.acceptance.watching import PASSWORD, browser, flower, page
from tests.queue.farm import CLIP, farm

PICTURE: Final = Path(__file__).parents[2] / "docs" / "flower.png"
ROWS: Final = {
    "harbour.mp4": "Add the title Harbour at six in the morning",
    "market.mp4": "Add background music and lower it under speech",
    "ferry.mp4": "Cut the first two seconds and add a fade-in",
    "lighthouse.mp4": "Make the colours warmer",
    "interview-mayor.mp4": "Add subtitles",
    "interview-pilot.mp4": "Add subtitles",
    "cafe.mp4": "Crop to 9:16",
    "old-town.mp4": "Add the title Old town",
    "drone-north.mp4": "Speed it up to twice the speed",
    "drone-south.mp4": "Speed it up to twice the speed",
    "fish-auction.mp4": "Add background music",
    "sunset.mp4": "Make the colours warmer and add a fade-out",
    "closing.mp4": "Add the title Thank you for watching",
    "opening.mp4": "Add the title Welcome",
    "bridge.mp4": "Stabilise the picture",
    "tram.mp4": "Cut the last second",
}
WAITS: Final[dict[str, Any]] = {
    "reelq_max_in_flight": 8,
    "reelq_poll_interval": 3.0,
    "reelq_edit_timeout": 60.0,
    "reelq_silence_timeout": 50.0,
}
FAULTS: Final[dict[str, object]] = {"edit_seconds": 4, "render_seconds": 10, "agent_declines": 0.25}


def main() -> None:
    """Let them work, and watch."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for clip in ROWS:
            (folder / clip).write_bytes(CLIP.read_bytes())
        with (
            farm("redis", folder, faults=FAULTS, database_kind="sqlite", concurrency=4, **WAITS) as queue,
            flower(queue, FLOWER_BASIC_AUTH=":".join(PASSWORD)) as shown,
            browser() as chromium,
            page(chromium, shown, height=1000) as seen,
        ):
            queue.start_worker()
            queue.start_worker()
            queue.submit([f"{clip},{instruction}" for clip, instruction in ROWS.items()], name="city-film")
            until(lambda: _is_telling(seen), "a page that shows a good many things")
            seen.screenshot(path=PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")  # noqa: T201 - it is a command


def _is_telling(seen: Page) -> bool:
    with seen.expect_response("**/tasks/datatable"):
        seen.goto("/tasks")
    seen.wait_for_selector(".dataTables_processing", state="hidden")
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    rows = [row for row in seen.locator("#tasks-table tbody tr").evaluate_all(cells) if len(row) > 1]
    shown = {(row[0], row[2]) for row in rows}
    states = {state for _, state in shown}
    stages = {stage for stage, _ in shown}
    return (
        ("poll", "RETRY") in shown and {"SUCCESS", "STARTED", "FAILURE"} <= states and len(stages) > len(PIPELINE) / 2
    )


if __name__ == "__main__":
    main()
