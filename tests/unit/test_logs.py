"""A process's log: a line for people, an object for machines, and no token in either."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from reelq import logs

TOKEN = "nmv_usr_hushhush"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "alembic", "kombu")}
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def _written(form: Literal["console", "json"], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    logs.set_up(form)
    failure = ValueError(f"no use for {TOKEN}")
    logging.getLogger("worker.pipeline").error("row %d of %s failed", 3, TOKEN, exc_info=failure)
    logging.getLogger("httpx").info("a request")
    return out.getvalue().splitlines()


def test_a_machine_gets_one_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = _written("json", monkeypatch)
    told = json.loads(line)
    assert (told["level"], told["logger"]) == ("error", "worker.pipeline")
    assert told["message"].startswith("row 3 of ")
    assert "ValueError" in told["exception"]
    assert TOKEN not in line


def test_a_person_gets_a_line_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _written("console", monkeypatch)
    assert "ERROR   row 3 of " in lines[0]
    assert not [line for line in lines if TOKEN in line or "a request" in line]
