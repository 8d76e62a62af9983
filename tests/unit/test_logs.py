"""A process's log: a line for people, an object for machines, and no token in either."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest

from reelq import logs

TOKEN = "nmv_usr_hushhush"
Form = Literal["console", "json"]
Begin = Callable[[Form], io.StringIO]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Begins the log of a process, and gives what is written; all is as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in logs.QUIET}

    def begun(form: Form) -> io.StringIO:
        monkeypatch.setattr("sys.stderr", out := io.StringIO())
        logs.set_up(form)
        return out

    yield begun
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def objects(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_what_is_worked_on_is_told_on_every_line_within_and_on_none_after(begin: Begin) -> None:
    out = begin("json")
    with logs.log_context(job="job_1", stage="edit", run=2):
        with logs.log_context(batch="bat_1"):
            logging.getLogger("httpx").warning("a library says something")
        logging.getLogger("worker").info("without the batch")
    logging.getLogger("worker").info("without anything")
    told = objects(out)
    here = [{name: line[name] for name in ("job", "stage", "run", "batch") if name in line} for line in told]
    about = {"job": "job_1", "stage": "edit", "run": 2}
    assert here == [about | {"batch": "bat_1"}, about, {}]


def test_threads_at_work_on_two_rows_do_not_mix_them_up(begin: Begin) -> None:
    out, both = begin("json"), threading.Barrier(2)

    def work(job: str) -> None:
        with logs.log_context(job=job):
            both.wait(5)
            logging.getLogger("worker").info("I am %s", job)
            both.wait(5)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ["job_1", "job_2"]))
    assert {line["job"]: line["message"] for line in objects(out)} == {"job_1": "I am job_1", "job_2": "I am job_2"}


def test_a_person_is_told_the_row_and_the_stage_before_the_message(begin: Begin) -> None:
    out = begin("console")
    logging.getLogger("httpx").info("a request")
    with logs.log_context(job="job_1", stage="edit", run=2, worker="a:1:2"):
        logging.getLogger("worker").info("done in 0.1 s")
    logging.getLogger("worker").error("alone")
    lines = [line[8:] for line in out.getvalue().splitlines()]
    assert lines == [" INFO    job_1 edit: done in 0.1 s", " ERROR   alone"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_token_is_left_wherever_it_stands(form: Form, begin: Begin) -> None:
    out, secret = begin(form), "neither-shaped-nor-short"
    failure = RuntimeError(f"because of {TOKEN}")
    failure.__cause__ = ValueError(f'{{"token": "{secret}"}}')
    with logs.log_context(job=f"job {TOKEN}"):
        more = {"token": secret, "headers": {"Authorization": secret}, "answer": f"a {TOKEN} b"}
        log = logging.getLogger("worker.executor")
        log.error("%s at http://x/?api_key=%s", TOKEN, secret, extra=more, exc_info=failure)
    said = out.getvalue()
    assert "RuntimeError" in said
    assert "ValueError" in said
    assert TOKEN not in said
    assert secret not in said
    if form == "json":
        (told,) = objects(out)
        assert (told["level"], told["logger"]) == ("error", "worker.executor")
        assert "RuntimeError" in told["exception"]
        assert (told["token"], told["answer"]) == ("[token removed]", "a [token removed] b")


def test_an_extra_field_takes_the_place_of_none_of_ours(begin: Begin) -> None:
    out = begin("json")
    with logs.log_context(job="job_1"):
        logging.getLogger("worker").info("done", extra={"away": "broker", "level": "fine", "job": "other", "n": 3})
    (told,) = objects(out)
    assert (told["level"], told["away"], told["n"]) == ("info", "broker", 3)


@pytest.mark.parametrize(("handlers", "told"), [([logging.NullHandler()], ['127.0.0.1 - "GET /"']), ([], [])])
def test_a_servers_own_lines_are_of_the_same_form_unless_it_was_told_to_be_silent(
    handlers: list[logging.Handler], told: list[str], begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = logging.getLogger("uvicorn.access")
    for name, value in {"propagate": False, "handlers": handlers, "level": logging.INFO}.items():
        monkeypatch.setattr(own, name, value)
    out = begin("json")
    own.info('%s - "%s"', "127.0.0.1", "GET /")
    assert [line["message"] for line in objects(out)] == told
