"""What a service, a proxy or the way there can do that no contract foresees: it ends in one of our errors, and soon."""

import gzip
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reelq import errors
from reelq.nemo import transport
from reelq.nemo.client import Remote, request_token
from reelq.nemo.stream import AgentReply, Patience
from reelq.nemo.transport import Limits, open_http
from reelq.nemo.types import Balance, Grant
from reelq.settings import Settings
from tests.contract.scripted_service import PATIENT, Answer, Meet, To, cut, endless, reply, say
from tests.sandbox_process import ATTRIBUTION, until
from tests.tokens import AskedTokens, FixedToken

if TYPE_CHECKING:
    from collections.abc import Callable

BALANCE = say({"code": 0, "data": {"available": 70}})
REFUSED = say({"code": 1001, "message": "expired"})
STREAM = reply(body=b'data: {"type": "text", "content": "Done."}\n\n', Content_Type="text/event-stream")
SCARCE = Limits(pool_seconds=0.1, spare_connections=0, pools=1)
"""One connection for short requests and one for long ones: the first that is not given back is missed."""


class _Clerk:
    """Stands for the token endpoint: hands out numbered tokens."""

    asked = 0

    def __call__(self) -> Grant:
        self.asked += 1
        return Grant(f"nmv_usr_{self.asked}")


TROUBLE: list[Answer] = [
    b"",
    cut(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"),
    cut(b"SSH-2.0-OpenSSH_9.6\r\n"),
    cut(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n: hi\n\r\n"),
    endless("text/event-stream", chunk=b": ping\n\n"),
    endless("application/json", status="401 Unauthorized"),
    endless("text/html", status="502 Bad Gateway"),
    reply("307 Temporary Redirect", Location="http://127.0.0.1:1/"),
    reply("302 Found", Location="http://[nonsense"),
    reply(body=b"not gzip", Content_Type="application/json", Content_Encoding="gzip"),
    say({"code": 2001}),
    reply("204 No Content"),
]


def _send(remote: Remote) -> AgentReply:
    return remote.send("s", "Add a title", PATIENT)


def _end_in(asked: type[errors.RemoteError], sent: type[errors.RemoteError], remote: Remote, told: str = ".") -> None:
    """A question and an instruction end in these errors."""
    with pytest.raises(asked, match=told):
        remote.balance()
    with pytest.raises(sent, match=told):
        _send(remote)


class _Enough(Exception):
    pass


def test_two_hundred_troubles_of_every_kind_leave_the_connection_pool_whole(
    meet: Meet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 50_000)
    rounds = 17 * len(TROUBLE)
    remote, service = meet(*TROUBLE * 17, BALANCE, limits=SCARCE)
    signs = iter(range(1_000_000))

    def alive() -> None:
        if next(signs) % 5 == 4:
            raise _Enough

    (clip := tmp_path / "a.mp4").write_bytes(b"x" * 100_000)
    asks: list[Callable[[], object]] = [
        lambda: remote.send("s", "Add a title", PATIENT, alive=alive),
        remote.balance,
        lambda: remote.upload("s", [clip]),
        lambda: remote.send("s", "Add a title", PATIENT, alive=alive),
        lambda: remote.render("r", "s", {}),
    ]
    caught = []  # kept, so that nothing is put right by being thrown away
    for ask in cycle(asks):
        if len(service.heads) >= rounds:
            break
        try:
            ask()
        except errors.NotSent:  # as where a connection was not given back
            raise
        except (errors.RemoteError, _Enough) as error:
            caught.append(error)
    assert {remote.balance().available for _ in range(30)} == {70}
    assert len(caught) > rounds / 2


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "500 Oops"])
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_a_flood_instead_of_an_answer_a_token_or_a_file_is_broken_off(
    status: str, kind: str, meet: Meet, http_to: To, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 200_000)
    remote, service = meet(endless(kind, status=status), tokens=AskedTokens(_Clerk()))
    _end_in(errors.ConnectionLost, errors.StreamNeverBegan, remote, "larger than 200000")
    with pytest.raises(errors.ConnectionLost):
        request_token(http_to(service.url), "me", ATTRIBUTION)
    with pytest.raises(errors.ConnectionLost):
        remote.download("", "r", tmp_path / "x.part")


def test_a_trickle_instead_of_an_answer_is_broken_off(meet: Meet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_SECONDS", 0.2)
    remote, _ = meet(endless("application/json", chunk=b" ", pause=0.05))
    _end_in(errors.TimedOut, errors.StreamNeverBegan, remote)


@pytest.mark.parametrize(
    ("second", "asked", "sent"),
    [
        (REFUSED, errors.TokenRefused, errors.TokenRefused),
        (say({"code": 429}), errors.RateLimited, errors.RateLimited),
        (reply("401 Unauthorized"), errors.TokenRefused, errors.TokenRefused),
        (b"", errors.ConnectionLost, errors.StreamNeverBegan),
    ],
)
def test_a_request_is_sent_again_once_and_no_more(
    second: bytes, asked: type[errors.RemoteError], sent: type[errors.RemoteError], meet: Meet, tmp_path: Path
) -> None:
    (clip := tmp_path / "a.mp4").write_bytes(b"x" * 100_000)
    for act, kind in ((Remote.balance, asked), (_send, sent), (lambda remote: remote.upload("s", [clip]), asked)):
        clerk = _Clerk()
        remote, service = meet(REFUSED, second, tokens=AskedTokens(clerk))
        with pytest.raises(errors.RemoteError) as caught:
            act(remote)
        assert type(caught.value) is kind
        assert (len(service.heads), clerk.asked) == (2, 2)
        first, again = service.bodies
        assert again == first


@pytest.mark.parametrize("failure", [errors.TimedOut(), errors.NotSent(), errors.TokenQuota(), errors.TokenRefused()])
def test_a_renewal_that_fails_is_no_doubt_as_the_instruction_was_refused(
    failure: errors.RemoteError, meet: Meet
) -> None:
    grants = [Grant("nmv_usr_1")]

    def ask() -> Grant:
        if not grants:
            raise failure
        return grants.pop()

    remote, service = meet(REFUSED, tokens=AskedTokens(ask))
    with pytest.raises(type(failure)):
        _send(remote)
    assert len(service.heads) == 1


def test_no_cookie_is_carried_from_one_account_to_another(meet: Meet) -> None:
    remote, service = meet(say({"code": 0, "data": {"available": 1}}, Set_Cookie="session=alice; Path=/"), BALANCE)
    remote.balance()
    remote.balance()
    assert "alice" not in service.heads[1]


def test_a_redirect_is_not_followed_with_an_instruction_or_a_token(meet: Meet) -> None:
    _, elsewhere = meet(STREAM)
    remote, service = meet(reply("307 Temporary Redirect", Location=f"{elsewhere.url}/run_sse"))
    _end_in(errors.Unintelligible, errors.StreamNeverBegan, remote)
    assert (len(service.heads), elsewhere.heads) == (2, [])


@pytest.mark.parametrize("answer", [reply("401 Unauthorized"), REFUSED])
def test_a_refusal_by_another_host_costs_no_token(answer: bytes, meet: Meet, tmp_path: Path) -> None:
    clerk = _Clerk()
    _, elsewhere = meet(answer)
    there = elsewhere.url.replace("127.0.0.1", "localhost")
    remote, _ = meet(reply("302 Found", Location=f"{there}/x.mp4"), tokens=AskedTokens(clerk))
    with pytest.raises(errors.RemoteError):
        remote.download("", "r", tmp_path / "x.part")
    assert clerk.asked == 1
    assert "authorization" not in elsewhere.heads[0].lower()


def test_a_proxy_that_lets_nobody_through_proves_that_nothing_was_sent(
    meet: Meet, http_to: To, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, proxy = meet(reply("403 Forbidden"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)
    remote = Remote(http_to("https://service.invalid"), FixedToken("own"), ATTRIBUTION)
    _end_in(errors.NotSent, errors.NotSent, remote)
    assert [head.partition(" HTTP")[0] for head in proxy.heads] == ["CONNECT service.invalid:443"] * 2


def test_a_proxy_or_an_address_that_can_not_be_used_is_told_as_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.SettingsError, match="HTTP client can't be created"):
        open_http(Settings(nemo_api_url="http://x:port"))
    for proxy in ("nonsense://x:1", "http://x:port", "socks9://x"):
        monkeypatch.setenv("ALL_PROXY", proxy)
        with pytest.raises(errors.SettingsError, match="HTTP client can't be created"):
            open_http(Settings())


@pytest.mark.parametrize("url", ["http://" + "a" * 80 + ".x", "http://127.0.0.1:1"])
def test_a_host_that_is_not_there_proves_that_nothing_was_sent(
    url: str, http_to: To, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    _end_in(errors.NotSent, errors.NotSent, Remote(http_to(url), FixedToken("own"), ATTRIBUTION))


def test_an_instruction_that_finds_no_free_connection_was_not_sent(meet: Meet) -> None:
    remote, service = meet(endless("text/event-stream", chunk=b": ping\n\n", pause=0.02), limits=SCARCE)

    def meanwhile() -> None:
        with pytest.raises(errors.NotSent):
            remote.send("s", "Add another title", PATIENT)
        raise _Enough

    with pytest.raises(_Enough):
        remote.send("s", "Add a title", PATIENT, alive=meanwhile)
    assert len(service.heads) == 1


def test_short_requests_wait_for_each_other_before_a_door_that_streams_pass_by(meet: Meet) -> None:
    go_on = threading.Event()

    def slowly(connection: socket.socket) -> None:
        go_on.wait(60)
        connection.sendall(BALANCE)

    remote, service = meet(slowly, slowly, STREAM, BALANCE, limits=Limits(quick_at_once=2, spare_connections=8))
    with ThreadPoolExecutor(4) as crowd:
        asked = [crowd.submit(remote.balance) for _ in range(4)]
        until(lambda: len(service.heads) >= 2)
        assert _send(remote).reply == "Done."
        assert len(service.heads) == 3
        go_on.set()
        assert {each.result() for each in asked} == {Balance(70)}


def _say_nothing(connection: socket.socket) -> None:
    """Until the other side hangs up, or we do: sooner than anybody's usual patience ends."""
    connection.settimeout(30)
    while connection.recv(1 << 16):
        pass


def test_an_upload_has_a_patience_of_its_own_for_its_answer(meet: Meet, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    remote, _ = meet(_say_nothing, limits=Limits(fetch_seconds=0.2))
    with pytest.raises(errors.TimedOut):
        remote.upload("s", [tmp_path / "a.mp4"])
    with pytest.raises(errors.TimedOut):
        remote.upload_urls("s", ["https://x/y.mp4"])


def test_a_stream_without_a_single_byte_ends_with_its_life_where_that_is_shorter(meet: Meet) -> None:
    def say_no_more(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        _say_nothing(connection)

    remote, _ = meet(say_no_more)
    with pytest.raises(errors.StreamSilent):
        remote.send("s", "Add a title", Patience(life=0.3, silence=600))


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1.mp4", 'a"; name="b.mp4', "C:\\clips\\a.mp4", "half \udce9.mp4"])
def test_no_file_name_can_break_out_of_its_part(name: str, meet: Meet, tmp_path: Path) -> None:
    clip = tmp_path / name
    clip.write_bytes(b"CONTENT")
    remote, service = meet(say({"code": 0, "data": {"files": []}}))
    remote.upload("s", [clip])
    sent = re.fullmatch(rb"--(\w+)\r\n(.*)\r\n\r\nCONTENT\r\n--\1--\r\n", service.bodies[0], re.DOTALL)
    assert sent
    lines = sent[2].split(b"\r\n")
    assert [line.partition(b":")[0] for line in lines] == [b"Content-Disposition", b"Content-Type"]
    assert lines[0].count(b'"') == 4


def test_a_clip_that_can_not_be_read_to_its_end_or_changes_meanwhile_is_told_and_nothing_leaks(
    meet: Meet, tmp_path: Path
) -> None:
    remote, _ = meet(BALANCE, limits=SCARCE)
    clip = tmp_path / "growing.mp4"
    for after in (b"x" * 400_000, b"x" * 100):
        with pytest.raises(errors.FileUnreadable, match="mem"):
            remote.upload("s", [Path("/proc/self/mem")])  # opens, and then fails like a disk

        def change(_: int, then: bytes = after) -> None:
            clip.write_bytes(then)

        clip.write_bytes(b"x" * 200_000)
        with pytest.raises(errors.FileUnreadable, match="changed while it was sent"):
            remote.upload("s", [clip], change)
    assert remote.balance() == Balance(70)


@pytest.mark.parametrize("echo", [{"code": 7777, "message": "no: own-token/x"}, {"data": {"odd": "own-token/x"}}])
def test_a_token_of_no_known_shape_is_cut_out_of_every_error(echo: dict[str, object], meet: Meet) -> None:
    remote, _ = meet(say(echo))
    for act in (Remote.balance, _send):
        with pytest.raises(errors.RemoteError) as caught:
            act(remote)
        assert "own-token" not in repr(caught.value) + caught.value.raw


def test_a_token_in_the_agents_own_words_is_cut_out(meet: Meet) -> None:
    error = b'data: {"error": "' + b"a" * 490 + b' own-token/x"}\n\n'
    stream = b'data: {"type": "text", "content": "own-token/x"}\n\n' + error
    remote, _ = meet(reply(body=stream, Content_Type="text/event-stream"))
    told: list[object] = []
    heard = remote.send("s", "Add a title", PATIENT, tell=told.append)
    assert len(told) == 2
    assert "own-tok" not in repr(heard) + repr(told)


def test_a_token_answer_that_can_not_be_read_is_not_kept(meet: Meet, http_to: To) -> None:
    _, service = meet(say({"code": 0, "data": {"jwt": "hidden-under-another-name"}}))
    with pytest.raises(errors.Unintelligible) as caught:
        request_token(http_to(service.url), "me", ATTRIBUTION)
    assert "hidden" not in repr(caught.value) + caught.value.raw


def test_a_draft_that_nests_too_deep_to_be_sent_is_one_of_our_errors(meet: Meet) -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    remote, service = meet(BALANCE)
    with pytest.raises(errors.Unintelligible, match="too deep"):
        remote.render("r", "s", {"t": deep})
    assert service.heads == []


def test_a_packed_stream_is_read_to_its_end_and_one_that_can_not_be_unpacked_is_doubt(meet: Meet) -> None:
    packed = {"Content_Type": "text/event-stream", "Content_Encoding": "gzip"}
    remote, service = meet(reply("200 OK", gzip.compress(STREAM.partition(b"\r\n\r\n")[2]), **packed))
    assert _send(remote).reply == "Done."
    assert "accept-encoding: identity" in service.heads[0].lower()
    with pytest.raises(errors.StreamCut):
        _send(meet(reply("200 OK", b"this is no gzip", **packed))[0])
    remote, _ = meet(reply("200 OK", b"this is no gzip", Content_Type="application/json", Content_Encoding="gzip"))
    _end_in(errors.Unintelligible, errors.StreamNeverBegan, remote)
