"""The command line's client of a reelq service, before one that is away, is something else, or has gone wrong."""

import json
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reelq.cli.backends.http.client import parse, service_at
from reelq.cli.backends.http.queue import RemoteQueue, open_remote_queue
from reelq.cli.backends.http.transfer import retry_while_unavailable
from reelq.cli.backends.http.videos import download_videos
from reelq.cli.errors import exit_code
from reelq.errors import ReelqError, ServiceAway, ServiceRefused, SettingsError, UnknownName
from reelq.job import Status
from reelq.settings import Settings
from reelq.store.queries.events import RowEvent
from reelq.store.queries.lookup import Target
from tests.contract.scripted_service import Answer, ScriptedService, cut, endless, reply, say

KEY = "rq_hushhush"
SETTINGS = Settings(reelq_api_key=SecretStr(KEY))
PAGE: dict[str, Any] = {"items": [], "next": None}


def problem(status: str, code: str, detail: str, **more: Any) -> bytes:
    body = {"type": f"/problems/{code}", "status": int(status[:3]), "code": code, "detail": detail, **more}
    return reply(status, json.dumps(body).encode(), Content_Type="application/problem+json")


@pytest.mark.parametrize(
    ("answer", "kind", "said", "code"),
    [
        (problem("401 Unauthorized", "unauthorized", "The key is not valid"), SettingsError, "REELQ_API_KEY", 2),
        (problem("403 Forbidden", "forbidden", "It may read", advice="Ask."), ServiceRefused, "It may read", 2),
        (problem("404 Not Found", "not_found", "No such batch"), UnknownName, "No such batch", 2),
        (problem("503 Away", "database_away", "The database does not respond"), ServiceAway, "does not respond", 1),
        (problem("500 Oh", "internal_error", "Something went wrong"), ServiceAway, "Something went wrong", 1),
        (reply("502 Bad Gateway", b"<html>", Content_Type="text/html"), ServiceAway, "HTTP 502", 1),
        (reply("404 Not Found", b"<html>", Content_Type="text/html"), SettingsError, "is not a reelq service", 2),
        (reply(body=b"<h1>Hello</h1>", Content_Type="text/html"), SettingsError, "is not a reelq service", 2),
        (say([]), SettingsError, "is not a reelq service", 2),
        (say({"batches": []}), SettingsError, "is not a reelq service", 2),
        (say({"items": [{"id": "bat_1", "name": "x"}], "next": None}), ServiceRefused, "can't be understood", 2),
        (reply("302 Found", Location="https://other.example/login?token=1"), SettingsError, "redirects to", 2),
        (endless("application/json", chunk=b" " * 1_000_000), ServiceAway, "larger than", 1),
        (cut(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"), ServiceAway, "was lost", 1),
        (b"", ServiceAway, "was lost", 1),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", ServiceAway, "was lost", 1),
    ],
)
def test_whatever_answers_is_told_in_a_sentence_that_does_not_hold_the_key(
    answer: Answer, kind: type[ReelqError], said: str, code: int
) -> None:
    with ScriptedService(answer) as service, open_remote_queue(service.url, SETTINGS) as queue:
        with pytest.raises(kind) as met:
            queue.newest_batches(5)
        assert said in str(met.value)
        assert KEY not in str(met.value) + met.value.advice
        assert "\n" not in str(met.value)
        assert met.value.advice
        assert exit_code(met.value) == code
        assert f"Authorization: Bearer {KEY}" in service.heads[0]


def test_nobody_there_is_told_with_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with (
        open_remote_queue(url, SETTINGS) as queue,
        pytest.raises(ServiceAway, match=f"No reelq service answers at {url}"),
    ):
        queue.newest_batches(5)
    with open_remote_queue("http://nowhere.invalid", SETTINGS) as queue, pytest.raises(ServiceAway) as met:
        queue.newest_batches(5)
    assert "REELQ_API_URL" in met.value.advice


def test_a_redirect_is_not_followed_wherever_it_leads() -> None:
    with ScriptedService(say(PAGE)) as other:
        onward = ScriptedService(reply("307 Temporary Redirect", Location=f"{other.url}/v1/batches"))
        with (
            onward as service,
            open_remote_queue(service.url, SETTINGS) as queue,
            pytest.raises(SettingsError, match="not sent"),
        ):
            queue.newest_batches(5)
        assert other.heads == []


@pytest.mark.parametrize(
    "address", ["http://me:hush@127.0.0.1:1", "http://127.0.0.1:1/?key=hush", "http://[::1", "http://a b", "http://"]
)
def test_an_address_that_is_none_is_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises((SettingsError, ServiceAway)) as met, open_remote_queue(address, SETTINGS) as queue:
        queue.newest_batches(5)
    assert "hush" not in str(met.value)


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REELQ_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="REELQ_API_KEY is not set"):
        service_at("http://127.0.0.1:1", Settings())


def test_a_key_in_the_clear_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    clear = ("http://reelq.example.com", "http://192.168.1.4:8000")
    others = ("https://reelq.example.com", "http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost:8000")
    for address in (*clear, *others):
        with service_at(address, SETTINGS):
            assert ("unencrypted" in capsys.readouterr().err) is (address in clear), address


def test_all_pages_are_read_and_no_more_than_are_needed() -> None:
    one = {"id": "bat_1", "name": "a", "state": "active", "created_at": "2026-01-01T00:00:00Z", "finished_at": None}
    page = {"items": [one | {"counts": {"queued": 1}, "credits": 0}] * 2, "next": "bat_1"}
    with (
        ScriptedService(say(page), say(page | {"next": None})) as service,
        open_remote_queue(service.url, SETTINGS) as queue,
    ):
        assert len(queue.batches()) == 4
        assert "cursor=bat_1" in service.heads[1]
    with ScriptedService(say(page)) as service, open_remote_queue(service.url, SETTINGS) as queue:
        assert len(queue.newest_batches(3)) == 3
        assert len(service.heads) == 2
        assert queue.newest() is not None
        assert len(service.heads) == 3


def test_while_the_service_is_away_it_is_asked_again_and_what_it_refuses_is_not() -> None:
    said: list[str] = []
    shaky = ScriptedService(b"", say({"done": 1, "soon": 0, "not_so": 0}))
    with shaky, service_at(shaky.url, SETTINGS) as asked:
        assert retry_while_unavailable(lambda: asked.ask("POST", "/v1/batches/x/cancel"), said.append)["done"] == 1
    assert len(said) == 1
    refusal = problem("403 Forbidden", "forbidden", "This key may read")
    with ScriptedService(refusal) as service, service_at(service.url, SETTINGS) as asked:
        with pytest.raises(ServiceRefused):
            retry_while_unavailable(lambda: asked.ask("POST", "/v1/batches/x/cancel"), said.append)
        assert len(service.heads) == 1


VIDEO: dict[str, Any] = {"id": "job_1", "row": 1, "result": {"size": 3, "sha256": "ab" * 32, "href": "https://evil/x"}}


@pytest.mark.parametrize("output", ["../x.mp4", "/tmp/x.mp4", "a/../../x.mp4", "", "..", "."])
def test_no_video_leaves_the_folder_whatever_the_service_calls_it(tmp_path: Path, output: str) -> None:
    folder = tmp_path / "out"
    page = {"items": [VIDEO | {"output": output}], "next": None}
    with ScriptedService(say(page), reply(body=b"abc")) as service, service_at(service.url, SETTINGS) as asked:
        with pytest.raises(ServiceRefused):
            download_videos(asked, "bat_1", folder)
        assert len(service.heads) == 1
    assert list(tmp_path.rglob("*.mp4")) == []


def test_a_video_that_is_not_what_was_promised_is_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = {"items": [VIDEO | {"output": "x.mp4"}], "next": None}
    with ScriptedService(say(page), reply(body=b"abc")) as service, service_at(service.url, SETTINGS) as asked:
        assert download_videos(asked, "bat_1", tmp_path) is False
        assert "Row 1: x.mp4 arrived incomplete or damaged" in capsys.readouterr().err
        assert all(head.startswith("GET /v1/jobs/job_1/output ") for head in service.heads[1:])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["bat_../../x", "job_x/../y", "bat_1?x", "job_1#", "bat_%2e", "job_海"])
def test_a_name_is_never_a_part_of_a_path(name: str) -> None:
    with ScriptedService(say(PAGE)) as service, open_remote_queue(service.url, SETTINGS) as queue:
        assert (queue.with_id(name), queue.row_with_id(name), service.heads) == (None, None, [])


def test_an_event_that_is_none_is_said_to_be_of_another_version() -> None:
    for text in ("{", "[]", "{}", '{"id": "x"}'):
        with pytest.raises(ServiceRefused, match="can't be understood"):
            parse(RowEvent, text)


_MOMENT = "2026-03-01T12:00:00Z"
_STATE: dict[str, Any] = {
    "id": "bat_1", "name": "jobs.csv", "state": "active", "created_at": _MOMENT, "finished_at": None, "at": _MOMENT,
    "released": None, "limit_credits": None, "places": [], "held": 0, "credits": 0, "shared": False, "moving": [],
    "holds": [], "tended": True, "twins_move": False, "failures": [], "waits": [],
}  # fmt: skip
_COUNTS = {"done": 1, "soon": 0, "not_so": 0}


@pytest.mark.parametrize(
    ("ask", "answer", "field"),
    [
        *((lambda queue: queue.state("bat_1"), _STATE, field) for field in _STATE),
        *((lambda queue: queue.cancel(Target("bat_1")), _COUNTS, field) for field in _COUNTS),
    ],
)
def test_an_answer_without_one_of_its_fields_is_said_to_be_of_another_version(
    ask: Callable[[RemoteQueue], object], answer: dict[str, Any], field: str
) -> None:
    rest = {name: value for name, value in answer.items() if name != field}
    with (
        ScriptedService(say(answer | {"newer": 1}), say(rest)) as service,
        open_remote_queue(service.url, SETTINGS) as queue,
    ):
        assert ask(queue)
        with pytest.raises(ServiceRefused, match=f"can't be understood .*{field}"):
            ask(queue)


def test_what_an_answer_holds_reaches_the_terminal_escaped_and_shortened() -> None:
    for name in ("\x1b]0;x\x07", "x" * 9000):
        with pytest.raises(ServiceRefused) as refused:
            parse(Counter[Status], {name: 1})
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 1000
