"""The live view: it fits its terminal, shows what others wrote as text, and leaves nothing behind."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from reelq.cli.views.screen import Pace, Screen, view
from reelq.job import Cause, Stage, Status, start_message
from reelq.store.db.models import BatchState
from reelq.store.queries.batch_status import Hold, Place, RowInMotion, Snapshot

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def moving(row: int, **values: Any) -> RowInMotion:
    told: dict[str, Any] = {
        "job": f"job_{row}", "row": row, "name": str(row), "file": "beach.mp4", "instruction": "Trim it",
        "stage": Stage.EDIT, "status": Status.RUNNING, "words": "the agent works", "since": NOW - timedelta(seconds=83),
    }  # fmt: skip
    return RowInMotion(**{**told, **values})


def snapshot(**values: Any) -> Snapshot:
    places = (Place(Stage.UPLOAD, Status.QUEUED, None, 48), Place(Stage.EDIT, Status.RUNNING, None, 40))
    ended = (Place(Stage.DOWNLOAD, Status.SUCCEEDED, None, 10), Place(Stage.VERIFY, Status.FAILED, None, 2))
    told: dict[str, Any] = {
        "at": NOW, "id": "bat_1", "name": "jobs.csv", "source": "", "out": "", "state": BatchState.ACTIVE,
        "released": None, "limit_credits": None, "created_at": NOW, "finished_at": None,
        "places": (*places, *ended), "held": 0, "credits": 600, "shared": False,
        "moving": tuple(moving(row) for row in range(1, 41)), "holds": (), "tended": True, "twins_move": False,
    }  # fmt: skip
    return Snapshot(**{**told, **values})


def shown(seen: Snapshot, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), markup=False, highlight=False, emoji=False)
    pace = Pace()
    pace.note(seen)
    with console.capture() as capture:
        console.print(view(seen, pace, width, height))
    return capture.get().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 140, 300])
@pytest.mark.parametrize("height", [3, 8, 16, 50])
def test_it_fits_the_terminal_whatever_its_size(width: int, height: int) -> None:
    long = moving(100_000, file="海滩上的日落和孩子们在沙滩上玩耍的视频素材" * 3, words="标题已添加 " * 30)
    hold = Hold(Cause.CREDITS, "The account is out of credits. Register: https://service.example/?bind=1" * 2, None)
    lines = shown(snapshot(name="very long " * 30, moving=(long,) * 40, holds=(hold,)), width, height)
    assert len(lines) < height
    assert max(map(cell_len, lines)) <= max(width - 3, 20)


def test_it_says_how_far_it_is_what_each_row_in_motion_does_and_what_holds_the_account_up() -> None:
    polled = moving(12, stage=Stage.POLL, status=Status.QUEUED, file="")
    written = moving(15, words="[red]\x1b[2J[/red] :smile:", file="[b]x.mp4")  # by others: text, and no markup
    started = moving(21, words=start_message(Stage.EDIT))  # which the stage says already
    hold = Hold(None, "the service asks for fewer requests (429)", NOW + timedelta(seconds=12))
    lines = shown(snapshot(moving=(moving(3), polled, written, started), holds=(hold,)), 120, 20)
    text = "\n".join(lines)
    assert "jobs.csv  10 of 100 rows done, 2 failed, 600 credits" in lines[0]
    assert "12 %" in lines[1]
    assert "48 not started · 40 edit" in text
    assert any(line.split() == ["3", "beach.mp4", "edit", "1:23", "the", "agent", "works"] for line in lines)
    assert any(line.split()[:4] == ["12", "Trim", "it", "poll"] for line in lines)
    assert any(line.split() == ["21", "beach.mp4", "edit", "1:23"] for line in lines)
    assert re.search(r"15 +\[b\]x\.mp4 .*\[red\]\\x1b\[2J\[/red\] :smile:", text)
    assert "… 36 more in progress" in text
    assert "fewer requests (429); resumes in 12 s" in text


def test_the_time_left_is_guessed_from_how_fast_rows_end() -> None:
    pace, seen = Pace(), snapshot()
    pace.note(seen)
    assert pace.left(seen) == ""
    later = replace(seen, at=NOW + timedelta(seconds=60), places=(*seen.places, *seen.places[2:]))
    pace.note(later)
    assert pace.a_minute == 12
    assert pace.left(later) == "about 7 min left"


@pytest.mark.parametrize("height", [8, 30])
def test_the_view_is_gone_at_the_end_even_where_it_breaks_off(height: int) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, height=height, _environ={"TERM": "xterm"})

    def break_off() -> None:
        with Screen(console) as screen:
            screen.update(snapshot(), [])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    drawn, _, end = written.getvalue().rpartition("\x1b[?25h")
    lines = drawn.rsplit("\x1b[2K", 1)[-1].count("\n")
    assert lines > 1
    assert end.count("\x1b[1A\x1b[2K") == lines  # each line of the last frame is wiped, from below
