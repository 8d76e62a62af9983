"""The stand-in's agent and its streams: what it does to a draft, what it says, and in which form."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.contract.standin import messages, until
from tests.sandbox_process import Caller, SandboxProcess, events


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
    ("text", "title"), [('Add a title "Urban Dreams" at the start', "Urban Dreams"), ("加字幕“海滩日落”", "海滩日落")]
)
def test_titles_and_captions_take_the_quoted_words(caller: Caller, session: str, text: str, title: str) -> None:
    caller.send(session, text)
    assert _tracks(caller.draft(session))[7][0]["m"] == {"title": title}


def test_music_makes_an_audio_track_with_a_volume_as_long_as_the_picture(caller: Caller, session: str) -> None:
    caller.send(session, "please add some lo-fi music")
    tracks = _tracks(caller.draft(session))
    assert tracks[1][0]["m"]["volume"] == 0.35
    assert tracks[1][0]["d"] == tracks[0][0]["d"]


def test_every_text_begins_at_the_start_and_a_title_lasts_as_long_as_was_asked(caller: Caller, session: str) -> None:
    caller.send(session, "cut the pauses and add captions")
    caller.send(session, 'Add the title "Five seconds" for the first 1.5 s')
    texts = [track["sg"] for track in caller.draft(session)["t"] if track["tt"] == 7]
    assert [len(segments) for segments in texts] == [1, 1]
    assert texts[1][0]["m"] == {"title": "Five seconds"}
    assert texts[1][0]["d"] == 1500


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ('the title "Dawn" for the first second', 1000),
        ('the title "Dawn" for the first two seconds', 2000),
        ('the title "Dawn" for 60 s', 2000),
        ('the title "Dawn"', 2000),
        ("标题“三秒”，显示一秒", 1000),
        ("标题“三秒”，前1.5秒", 1500),
    ],
)
def test_a_title_never_outlasts_the_picture(caller: Caller, session: str, text: str, ms: int) -> None:
    caller.send(session, text)
    draft = caller.draft(session)
    assert (_tracks(draft)[7][0]["d"], draft["d"]) == (ms, 2000)


@pytest.mark.parametrize(
    ("text", "volume"), [("lo-fi music at 30 %", 0.3), ("音乐音量 20％", 0.2), ('title "5%", music at 100%', 1.0)]
)
def test_music_plays_as_loud_as_was_asked_and_the_agent_says_so(
    caller: Caller, session: str, text: str, volume: float
) -> None:
    said = _words(caller.send(session, text).text)
    assert _tracks(caller.draft(session))[1][0]["m"]["volume"] == volume
    assert f"{volume:.0%}" in said


def test_trimming_makes_the_picture_shorter_to_the_length_asked_for(caller: Caller, session: str) -> None:
    caller.send(session, "trim it to 1.5 seconds")
    draft = caller.draft(session)
    assert (_tracks(draft)[0][0]["d"], draft["d"]) == (1500, 1500)


def test_a_track_can_be_removed_again(caller: Caller, session: str) -> None:
    caller.send(session, "add music and captions")
    assert _tracks(caller.draft(session)).keys() == {0, 1, 7}
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
    noted = messages(sandbox, session)
    assert [message["repeat"] for message in noted] == [False, True]
    assert all(message["charge"] > 0 for message in noted)


def test_a_face_swap_without_a_photo_is_asked_back_and_costs_nothing(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    before = caller.draft(session)
    stream = caller.send(session, "swap the face with mine").text
    assert "photo" in _words(stream)
    assert caller.draft(session) == before
    (message,) = messages(sandbox, session)
    assert (message["outcome"], message["charge"]) == ("asked back", 0)


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
    (message,) = messages(sandbox, session)
    assert message["charge"] == 100
    assert caller.state(session).json()["data"]["state"]["generated_media"]


def test_a_question_is_answered_and_changes_nothing(caller: Caller, session: str) -> None:
    before = caller.draft(session)
    assert "timeline" in _words(caller.send(session, "What is on the timeline?").text)
    assert caller.draft(session) == before


def test_a_chinese_session_is_answered_in_chinese(sandbox: SandboxProcess, caller: Caller) -> None:
    chinese = caller.open_session("zh-CN")
    assert "文字" in _words(caller.send(chinese, "加标题“早安”").text)


def test_screen_talk_is_mixed_with_real_descriptions(caller: Caller, session: str) -> None:
    said = [_words(caller.send(session, f'add a title "{number}"').text) for number in range(20)]
    assert all("added the text" in words for words in said)
    assert any("Export button" in words for words in said)
    assert any("drag" in words for words in said)


def test_adk_events_bring_tool_calls_the_new_draft_and_partial_texts_before_the_whole(
    start_with_caller: Callable[..., tuple[SandboxProcess, Caller]],
) -> None:
    _, caller = start_with_caller(no_latency=True, streams="adk")
    session = caller.open_session()
    stream = caller.send(session, 'add a title "Dawn"')
    assert stream.headers["content-type"].startswith("text/event-stream")
    told = events(stream.text)
    parts = [event["content"]["parts"][0] for event in told]
    assert parts[0]["functionCall"]["name"] == "add_text"
    assert parts[1]["functionResponse"]["name"] == "add_text"
    assert told[1]["actions"]["stateDelta"]["draft"] == caller.draft(session)
    pieces = [event["content"]["parts"][0]["text"] for event in told if event.get("partial")]
    assert len(pieces) > 1
    assert "".join(pieces) == parts[-1]["text"]
    assert "partial" not in told[-1]


def test_the_flat_form_brings_the_same_story_and_keep_alives_in_every_form_while_the_agent_is_busy(
    start_with_caller: Callable[..., tuple[SandboxProcess, Caller]],
) -> None:
    sandbox, caller = start_with_caller(no_latency=True, keep_alive=0.05, streams="flat")
    session = caller.open_session()
    told = [event["type"] for event in events(caller.send(session, 'add a title "Dawn"').text)]
    assert [kind for kind in told if kind != "heartbeat"] == ["tool_call", "tool_result", "text"]
    sandbox.faults(edit_seconds=600)
    awaited = {": ping", "data:", "event: heartbeat", "event: heartbeat\ndata: {}", 'data: {"type":"heartbeat"}'}
    with caller.stream(session, 'add a title "Dusk"') as answer:
        heard = answer.iter_text()
        while awaited:
            awaited -= set(next(heard).split("\n\n"))


def test_three_edits_in_ten_are_silent_and_applied_all_the_same(sandbox: SandboxProcess, caller: Caller) -> None:
    sandbox.faults(silent_edit=0.3)
    sandbox.top_up(100_000)
    session = caller.open_session()
    silent = sum(not _words(caller.send(session, f'add a title "{number}"').text) for number in range(100))
    assert 18 <= silent <= 42  # the same number in every run: the choices are those of the seed
    assert len(_tracks(caller.draft(session))[7]) == 100


def test_the_same_seed_makes_the_same_choices(
    sandbox: SandboxProcess, start_sandbox: Callable[..., SandboxProcess], make_caller: Callable[..., Caller]
) -> None:
    def told(by: SandboxProcess) -> list[str]:
        by.reset()
        by.faults(silent_edit=0.5)
        caller = make_caller(by.url)
        caller.take_token()
        by.top_up(2000)
        session = caller.open_session()
        return [_words(caller.send(session, f"add music {number}").text) for number in range(8)]

    other = start_sandbox(no_latency=True, seed=7)
    assert told(sandbox) == told(sandbox) != told(other) == told(other)


def test_without_screen_talk_the_agent_only_tells_what_it_did(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(screen_talk=0)
    said = {_words(caller.send(session, f'add a title "Take {number}"').text) for number in range(12)}
    assert said == {"I've added the text over the opening seconds."}
