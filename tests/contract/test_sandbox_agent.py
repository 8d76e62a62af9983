"""The stand-in's agent and its streams: what it does to a draft, what it says, and in which form."""

from itertools import pairwise
from typing import Any

import pytest

from sandbox.stream import AdkDialect
from tests.sandbox_process import Caller, SandboxProcess, Start, events, until


def _tracks(draft: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """The segments of each type of track; texts have a track each."""
    segments: dict[int, list[dict[str, Any]]] = {}
    for track in draft["t"]:
        segments.setdefault(track["tt"], []).extend(track["sg"])
    return segments


def _words(stream: str) -> str:
    """What the agent said, each text once."""
    said = []
    for event in events(stream):
        if event.get("type") == "text":
            said.append(event["content"])
        elif not event.get("partial"):
            said += [part["text"] for part in event.get("content", {}).get("parts", []) if "text" in part]
    return " ".join(said)


@pytest.mark.parametrize(
    ("text", "title", "ms"),
    [
        ('Add a title "Urban Dreams" at the start', "Urban Dreams", 2000),
        ("加字幕“海滩日落”", "海滩日落", 2000),
        ('the title "Dawn" for the first second', "Dawn", 1000),
        ('the title "Dawn" for the first two seconds', "Dawn", 2000),
        ('the title "Dawn" for 60 s', "Dawn", 2000),
        ('the title "Five seconds" for the first 1.5 s', "Five seconds", 1500),
        ("标题“三秒”，显示一秒", "三秒", 1000),
        ("标题“三秒”，前1.5秒", "三秒", 1500),
    ],
)
def test_a_title_takes_the_quoted_words_and_the_time_asked_for_and_never_outlasts_the_picture(
    caller: Caller, session: str, text: str, title: str, ms: int
) -> None:
    caller.send(session, text)
    draft = caller.draft(session)
    (segment,) = _tracks(draft)[7]
    assert (segment["m"], segment["d"], draft["d"]) == ({"title": title}, ms, 2000)


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("please add some lo-fi music", 0.35),
        ("lo-fi music at 30 %", 0.3),
        ("音乐音量 20％", 0.2),
        ('title "5%", music at 100%', 1.0),
    ],
)
def test_music_plays_as_long_as_the_picture_and_as_loud_as_was_asked_and_the_agent_says_so(
    caller: Caller, session: str, text: str, volume: float
) -> None:
    said = _words(caller.send(session, text).text)
    tracks = _tracks(caller.draft(session))
    assert (tracks[1][0]["m"]["volume"], tracks[1][0]["d"]) == (volume, tracks[0][0]["d"])
    assert f"{volume:.0%}" in said


def test_trimming_makes_the_picture_shorter_to_the_length_asked_for(caller: Caller, session: str) -> None:
    caller.send(session, "trim it to 1.5 seconds")
    draft = caller.draft(session)
    assert (_tracks(draft)[0][0]["d"], draft["d"]) == (1500, 1500)


def test_every_text_has_a_track_of_its_own_that_can_be_removed_again(caller: Caller, session: str) -> None:
    caller.send(session, "cut the pauses, add music and captions")
    caller.send(session, 'add the title "Dawn"')
    draft = caller.draft(session)
    assert _tracks(draft).keys() == {0, 1, 7}
    assert [len(track["sg"]) for track in draft["t"] if track["tt"] == 7] == [1, 1]
    caller.send(session, "remove the music")
    assert _tracks(caller.draft(session)).keys() == {0, 7}


@pytest.mark.parametrize(
    "text",
    ["make it warmer", "remove the export watermark", "trim the pauses, add captions", "添加配乐", "add a status bar"],
)
def test_every_applied_edit_changes_the_draft_and_so_does_its_repetition(
    sandbox: SandboxProcess, caller: Caller, session: str, text: str
) -> None:
    drafts = [caller.draft(session)]
    for _ in range(2):
        caller.send(session, text)
        drafts.append(caller.draft(session))
    assert all(earlier["t"] != later["t"] for earlier, later in pairwise(drafts))
    noted = sandbox.messages(session)
    assert [message["repeat"] for message in noted] == [False, True]
    assert all(message["charge"] > 0 for message in noted)


def test_a_generated_clip_costs_a_hundred_and_is_followed_by_a_second_pass(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(second_pass_seconds=600)
    caller.send(waiting := caller.open_session(), "generate a clip of the sea")
    assert _tracks(caller.draft(waiting)).keys() == {0}
    sandbox.faults(second_pass_seconds=0.1)
    caller.send(session, "generate a clip of the sea")
    assert len(_tracks(caller.draft(session))[0]) == 2
    until(lambda: bool(_tracks(caller.draft(session)).keys() & {1, 7}))
    (message,) = sandbox.messages(session)
    assert message["charge"] == 100
    assert caller.state(session).json()["data"]["state"]["generated_media"]


def test_a_question_and_a_face_swap_without_a_photo_change_and_cost_nothing_and_a_chinese_session_hears_chinese(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    before = caller.draft(session)
    assert "timeline" in _words(caller.send(session, "What is on the timeline?").text)
    assert "photo" in _words(caller.send(session, "swap the face with mine").text)
    assert caller.draft(session) == before
    noted = [(message["outcome"], message["charge"]) for message in sandbox.messages(session)]
    assert noted == [("answered", 0), ("asked back", 0)]
    assert "文字" in _words(caller.send(caller.open_session("zh-CN"), "加标题“早安”").text)


def test_screen_talk_is_mixed_with_real_descriptions_unless_it_is_turned_off(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    said = [_words(caller.send(session, f'add a title "{number}"').text) for number in range(20)]
    assert all("added the text" in words for words in said)
    assert any("Export button" in words for words in said)
    assert any("drag" in words for words in said)
    sandbox.faults(screen_talk=0)
    said = [_words(caller.send(session, f'add a title "Take {number}"').text) for number in range(12)]
    assert set(said) == {"I've added the text over the opening seconds."}


def test_a_text_in_the_form_of_adk_comes_in_pieces_and_once_more_as_a_whole() -> None:
    *pieces, whole = events(b"".join(AdkDialect().text("I've removed that track.")).decode())
    assert len(pieces) > 1
    assert all(piece["partial"] for piece in pieces)
    assert "partial" not in whole
    said = [event["content"]["parts"][0]["text"] for event in (*pieces, whole)]
    assert "".join(said[:-1]) == said[-1] == "I've removed that track."


def test_keep_alives_come_in_every_form_while_the_agent_is_busy(start_sandbox: Start) -> None:
    faults: dict[str, object] = {"edit_seconds": 600}
    caller = start_sandbox(no_latency=True, keep_alive=0.05, streams="flat", faults=faults).guest()
    awaited = {": ping", "data:", "event: heartbeat", "event: heartbeat\ndata: {}", 'data: {"type":"heartbeat"}'}
    with caller.stream(caller.open_session(), 'add a title "Dusk"') as answer:
        heard = answer.iter_text()
        while awaited:
            awaited -= set(next(heard).split("\n\n"))


def test_a_rate_strikes_about_as_often_as_it_says_and_a_silent_edit_is_applied_all_the_same(
    sandbox: SandboxProcess, caller: Caller
) -> None:
    sandbox.faults(silent_edit=0.3)
    sandbox.top_up(100_000)
    session = caller.open_session()
    silent = sum(not _words(caller.send(session, f'add a title "{number}"').text) for number in range(100))
    assert 18 <= silent <= 42  # the same number in every run: the choices are those of the seed
    assert len(_tracks(caller.draft(session))[7]) == 100


def test_the_same_seed_makes_the_same_choices(sandbox: SandboxProcess, start_sandbox: Start) -> None:
    def told(by: SandboxProcess) -> list[str]:
        by.reset()
        by.faults(silent_edit=0.5)
        caller = by.guest()
        by.top_up(2000)
        session = caller.open_session()
        return [_words(caller.send(session, f"add music {number}").text) for number in range(8)]

    other = start_sandbox(no_latency=True, seed=7)
    assert told(sandbox) == told(sandbox) != told(other) == told(other)
