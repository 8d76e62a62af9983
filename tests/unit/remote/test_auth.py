"""Who we are is kept once, and a refused token is renewed once for all who wait."""

import pwd
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from reelq.errors import ClientIdMissing
from reelq.nemo.identity import CLIENT_ID_FILE, client_id
from reelq.nemo.transport import Bearer
from reelq.nemo.types import Grant
from reelq.settings import Settings
from tests.tokens import AskedTokens


class _Counter:
    """Stands for the token endpoint: counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Grant:
        self.asked += 1
        return Grant(f"nmv_usr_{self.asked}")


def _unread() -> Iterator[bytes]:
    """A body that must not be read."""
    raise AssertionError("the body was read")
    yield b""


def _flow(*responses: httpx.Response) -> tuple[list[str], _Counter]:
    """Drive the auth flow with these answers; the bearers it sent, and how often it asked for a token."""
    ask = _Counter()
    request = httpx.Request("POST", "http://x/run_sse")
    flow = Bearer(AskedTokens(ask)).sync_auth_flow(request)
    sent = [next(flow).headers["Authorization"]]
    for response in responses:
        response.request = request
        try:
            sent.append(flow.send(response).headers["Authorization"])
        except StopIteration:
            break
    return sent, ask


REFUSALS = [
    httpx.Response(401),
    *(httpx.Response(status, json={"code": 1001}) for status in (401, 200)),
    httpx.Response(200, json={"code": "1010"}),
    httpx.Response(403, json={"code": 1011}),
]
OTHER_ANSWERS = [
    *(httpx.Response(200, json=told) for told in ({"code": 0}, {"code": 2001}, [1001])),
    httpx.Response(200, headers={"content-type": "application/json"}, content=b"{"),
    httpx.Response(500, text="1001"),
    *(
        httpx.Response(200, headers={"content-type": kind}, content=_unread())
        for kind in ("text/event-stream", "text/event-stream; charset=utf-8", "video/mp4")
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_in_any_form_is_answered_with_a_fresh_token_and_one_more_try(refusal: httpx.Response) -> None:
    sent, ask = _flow(refusal, httpx.Response(401))
    assert sent == ["Bearer nmv_usr_1", "Bearer nmv_usr_2"]
    assert ask.asked == 2


@pytest.mark.parametrize("answer", OTHER_ANSWERS)
def test_any_other_answer_renews_nothing_and_no_stream_is_read_to_find_a_refusal(answer: httpx.Response) -> None:
    sent, ask = _flow(answer)
    assert sent == ["Bearer nmv_usr_1"]
    assert ask.asked == 1


@pytest.mark.parametrize("kept", [None, "", "\n\n", "two words", "  b2f0-kept \n\n"])
def test_a_client_id_is_made_once_and_kept_for_ever_unless_one_was_kept_already_or_is_given(
    kept: str | None, tmp_path: Path
) -> None:
    place = tmp_path / CLIENT_ID_FILE
    if kept is not None:
        place.parent.mkdir(parents=True)
        place.write_text(kept)
    first = client_id(Settings(), tmp_path)
    assert first == "b2f0-kept" or (len(first) == 36 and "kept" not in (kept or ""))
    assert client_id(Settings(), tmp_path) == place.read_text().strip() == first
    assert list(place.parent.iterdir()) == [place]
    assert client_id(Settings(nemo_client_id="mine"), tmp_path) == "mine"
    assert place.read_text().strip() == first


def test_many_that_start_at_once_agree_on_one_id(tmp_path: Path) -> None:
    gate = threading.Barrier(16)

    def make() -> str:
        gate.wait()
        return client_id(Settings(), tmp_path)

    with ThreadPoolExecutor(16) as pool:
        assert len({future.result() for future in [pool.submit(make) for _ in range(16)]}) == 1


def test_a_home_that_can_not_be_written_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / ".config").write_text("a file where a folder belongs")
    with pytest.raises(ClientIdMissing, match="can't be kept"):
        client_id(Settings(), tmp_path)


def test_a_user_without_a_home_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    settings = Settings()
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(ClientIdMissing, match="no home"):
        client_id(settings)
