"""A process's log: a line for people, an object for machines, and no token in either."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from reelq import logs

TOKEN = "nmv_usr_hushhush"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in logs.QUIET}
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def _written(form: Literal["console", "json"], monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]) -> str:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    logs.set_up(form)
    write()
    return out.getvalue()


def _told(monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _written("json", monkeypatch, write).splitlines()]


def test_what_is_worked_on_is_told_on_every_line_within_and_on_none_after(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        with logs.about(job="job_1", stage="edit", run=2):
            with logs.about(batch="bat_1"):
                logging.getLogger("httpx").warning("a library says something")
            logging.getLogger("worker").info("without the batch")
        logging.getLogger("worker").info("without anything")

    told = _told(monkeypatch, write)
    here = [{name: line[name] for name in ("job", "stage", "run", "batch") if name in line} for line in told]
    assert here == [
        {"job": "job_1", "stage": "edit", "run": 2, "batch": "bat_1"},
        {"job": "job_1", "stage": "edit", "run": 2},
        {},
    ]


def test_threads_at_work_on_two_rows_do_not_mix_them_up(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)

    def work(job: str) -> None:
        with logs.about(job=job):
            both.wait(5)
            logging.getLogger("worker").info("I am %s", job)
            both.wait(5)

    def write() -> None:
        threads = [threading.Thread(target=work, args=(job,)) for job in ("job_1", "job_2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    told = _told(monkeypatch, write)
    assert {line["job"] for line in told} == {"job_1", "job_2"}
    assert all(line["message"] == f"I am {line['job']}" for line in told)


def test_a_person_is_told_the_row_and_the_stage_before_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        logging.getLogger("httpx").info("a request")
        with logs.about(job="job_1", stage="edit", run=2, worker="a:1:2"):
            logging.getLogger("worker").info("done in 0.1 s")

    assert _written("console", monkeypatch, write)[8:] == " INFO    job_1 edit: done in 0.1 s\n"


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_token_is_left_wherever_it_stands(form: Literal["console", "json"], monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "neither-shaped-nor-short"

    def fail() -> None:
        error = RuntimeError(f"because of {TOKEN}")
        raise error from ValueError(f'{{"token": "{secret}"}}')

    def write() -> None:
        try:
            fail()
        except RuntimeError:
            with logs.about(job=f"job {TOKEN}"):
                more = {"token": secret, "headers": {"Authorization": secret}, "answer": f"a {TOKEN} b"}
                logging.getLogger("worker.pipeline").exception("%s at http://x/?api_key=%s", TOKEN, secret, extra=more)

    said = _written(form, monkeypatch, write)
    assert "RuntimeError" in said
    assert "ValueError" in said
    assert TOKEN not in said
    assert secret not in said
    if form == "json":
        (told,) = map(json.loads, said.splitlines())
        assert (told["level"], told["logger"]) == ("error", "worker.pipeline")
        assert "RuntimeError" in told["exception"]
        assert (told["token"], told["answer"]) == ("[token removed]", "a [token removed] b")


def test_an_extra_field_takes_the_place_of_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        with logs.about(job="job_1"):
            logging.getLogger("worker").info("done", extra={"away": "broker", "level": "fine", "job": "other", "n": 3})

    (told,) = _told(monkeypatch, write)
    assert (told["level"], told["away"], told["n"]) == ("info", "broker", 3)


@pytest.mark.parametrize(("handlers", "told"), [([logging.NullHandler()], ['127.0.0.1 - "GET /"']), ([], [])])
def test_a_servers_own_lines_are_of_the_same_form_unless_it_was_told_to_be_silent(
    handlers: list[logging.Handler], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = logging.getLogger("uvicorn.access")
    monkeypatch.setattr(own, "propagate", False)
    monkeypatch.setattr(own, "handlers", handlers)
    monkeypatch.setattr(own, "level", logging.INFO)
    lines = _told(monkeypatch, lambda: own.info('%s - "%s"', "127.0.0.1", "GET /"))
    assert [line["message"] for line in lines] == told
