"""The agent: reads an instruction, does something to the timeline that fits the words, and talks about it."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox.draft import STILL_MS, TITLE_MS, UNKNOWN_MS, Draft, TrackType
from sandbox.talk import Talk

if TYPE_CHECKING:
    from sandbox.world import Media, Session

GENERATION_COST: Final = 100
EDIT_COSTS: Final = (42, 50)
"""About fifty, and never more: a free account's hundred is always two edits."""

_QUESTION: Final = re.compile(
    r"^\s*(what|which|who|why|when|where|how\s+(many|much|long|does|do|is))\b.*\?\s*$|^(什么|哪|谁|为什么|多少|几).*[?？]\s*$",
    re.IGNORECASE | re.DOTALL,
)
_GENERATE: Final = re.compile(r"\bgenerat(e|ing)\b|生成", re.IGNORECASE)
_FACE_SWAP: Final = re.compile(r"\b(swap|replace)\b.{0,40}\bfaces?\b|\bfaces?[\s-]?swap|换脸", re.IGNORECASE)
_REMOVE: Final = re.compile(r"\b(remove|delete|drop|mute)\b|without\b|去掉|去除|删除|移除", re.IGNORECASE)
_SHORTEN: Final = re.compile(r"\b(trim|shorten|cut)\b|剪|缩短", re.IGNORECASE)
_MUSIC: Final = re.compile(r"\b(music|bgm|soundtrack)\b|配乐|音乐", re.IGNORECASE)
_TEXT: Final = re.compile(r"\b(titles?|captions?|subtitles?)\b|字幕|标题", re.IGNORECASE)
_NUMBERS: Final = (
    ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    "一二三四五六七八九十",
)
_SPELT: Final = {word: number for words in _NUMBERS for number, word in enumerate(words, 1)} | {"first": 1, "两": 2}
_SECONDS: Final = re.compile(
    # "twenty-one" and "十二" are not read at all, rather than as one and two.
    rf"(\d+(?:\.\d+)?|(?<![a-z{_NUMBERS[1]}-])(?:{'|'.join(_SPELT)}))[\s-]*(?:s\b|secs?\b|seconds?\b|秒)",
    re.IGNORECASE,
)
_PERCENT: Final = re.compile(r"(\d{1,3})\s*[%％]")
_QUOTED: Final = re.compile(r"[\"“「『](.+?)[\"”」』]|'([^']{2,})'(?!\w)")
_USUAL_VOLUME: Final = 0.35
_TUNES: Final = ("Lo-fi", "Warm piano", "City nights", "Acoustic morning")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to the timeline, as the tool that does it is called."""

    tool: str
    args: dict[str, Any]
    change: Callable[[Draft], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the agent makes of an instruction. Without steps it only talks."""

    length: str
    """Which of the documented latencies it takes."""
    outcome: str
    cost: int = 0
    steps: tuple[Step, ...] = ()
    reply: str = ""


def plan(text: str, session: "Session", talk: Talk) -> Plan:
    """Read the words; nothing is changed yet."""
    draw = talk.draw
    if _QUESTION.search(text):
        return Plan("answer", "answered", reply=talk.about(session.draft))
    if _FACE_SWAP.search(text) and not session.has("image"):
        return asks_back(talk.wants_photo())
    if _GENERATE.search(text):
        steps: tuple[Step, ...] = (_generate(text),)
        return Plan(
            "generation", "applied", GENERATION_COST, steps, talk.done((step.tool, step.args) for step in steps)
        )
    steps = (*_lay_what_was_uploaded(session), *_edits(text, session.draft, draw))
    if not session.media and session.draft.is_empty and all(step.tool == "apply_effect" for step in steps):
        return asks_back(talk.wants_clip())
    return Plan(
        "edit", "applied", draw.randint(*EDIT_COSTS), steps, talk.done((step.tool, step.args) for step in steps)
    )


def asks_back(question: str) -> Plan:
    return Plan("answer", "asked back", reply=question)


def declines(talk: Talk) -> Plan:
    return Plan("answer", "declined", reply=talk.declines())


def groundwork(text: str) -> Step:
    """Half of an edit that comes in two steps: something that stays and yet is not all."""
    return Step("prepare", {"for": text}, lambda draft: draft.add_effect(f"prepared: {text}"))


def second_pass(draw: random.Random) -> Step:
    """What the agent adds by itself a moment after a generated clip."""
    return _music(draw, _USUAL_VOLUME) if draw.random() < 0.5 else _title("Generated with care", TITLE_MS)


def lay_clip(draft: Draft, media: "Media") -> None:
    """An upload on the timeline. A photo beside a clip is there to be looked at, not to be shown."""
    ms = round(media.duration * 1000) if media.duration else UNKNOWN_MS
    if media.kind == "audio":
        draft.add(TrackType.AUDIO, ms, name=media.filename, volume=1.0, size=media.size)
    elif media.kind == "video" or not draft.segments(TrackType.VIDEO):
        length = STILL_MS if media.kind == "image" else ms
        draft.add(TrackType.VIDEO, length, name=media.filename, size=media.size, src=media.cdn)


def _edits(text: str, draft: Draft, draw: random.Random) -> list[Step]:
    """One step for each thing that the words ask for; an effect where they ask for none that is known."""
    if _REMOVE.search(text):
        steps = [_drop(kind) for kind in _tracks_named(text) if draft.segments(kind)]
    else:
        steps = [_title(_words_for(text), _ms_in(text) or TITLE_MS)] if _TEXT.search(text) else []
        steps += [_music(draw, _volume_in(text))] if _MUSIC.search(text) else []
    steps += [_shorten(text)] if _SHORTEN.search(text) else []
    return steps or [Step("apply_effect", {"effect": text}, lambda draft: draft.add_effect(text))]


def _tracks_named(text: str) -> list[TrackType]:
    named = ((_MUSIC, TrackType.AUDIO), (_TEXT, TrackType.TEXT))
    return [kind for pattern, kind in named if pattern.search(text)]


def _lay_what_was_uploaded(session: "Session") -> list[Step]:
    """An upload does not always fill the draft; the agent then does it before anything else."""
    if not session.draft.is_empty:
        return []
    return [
        Step("add_clip", {"name": media.filename}, lambda draft, media=media: lay_clip(draft, media))  # type: ignore[misc]
        for media in session.media
    ]


def _generate(text: str) -> Step:
    return Step(
        "generate_video",
        {"prompt": text},
        lambda draft: draft.add(TrackType.VIDEO, UNKNOWN_MS, name=f"generated: {text[:40]}", generated=True),
    )


def _music(draw: random.Random, volume: float) -> Step:
    tune = draw.choice(_TUNES)
    return Step("add_bgm", {"name": tune, "volume": volume}, lambda draft: draft.add_music(tune, volume))


def _title(words: str, ms: int) -> Step:
    return Step("add_text", {"text": words, "ms": ms}, lambda draft: draft.add_title(words, ms))


def _drop(kind: TrackType) -> Step:
    return Step("remove_track", {"tt": int(kind)}, lambda draft: draft.drop(kind))


def _shorten(text: str) -> Step:
    to_ms = _ms_in(text)
    return Step("trim", {"to_ms": to_ms}, lambda draft: draft.shorten(to_ms))


def _words_for(text: str) -> str:
    quoted = _QUOTED.search(text)
    return next(filter(None, quoted.groups())) if quoted else text[:60]


def _ms_in(text: str) -> int | None:
    """The first length of time that an instruction names. One in quotation marks is a part of a title."""
    found = _SECONDS.search(_QUOTED.sub(" ", text))
    return round(1000 * float(_SPELT.get(found[1].lower(), found[1]))) if found else None


def _volume_in(text: str) -> float:
    found = _PERCENT.search(_QUOTED.sub(" ", text))
    return min(100, int(found[1])) / 100 if found else _USUAL_VOLUME
