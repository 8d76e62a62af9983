"""The agent: reads an instruction, edits the timeline to match it, and replies."""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from sandbox.draft import STILL_MS, TITLE_MS, UNKNOWN_MS, Draft, TrackType
from sandbox.media import Media
from sandbox.state import Session

GENERATION_COST: Final = 100
EDIT_COSTS: Final = (42, 50)
"""About fifty, and never more: a free account's hundred always pays for two edits."""

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
_NUMBER_WORDS: Final = {word: number for words in _NUMBERS for number, word in enumerate(words, 1)} | {
    "first": 1,
    "两": 2,
}
_SECONDS: Final = re.compile(
    # "twenty-one" and "十二" don't match at all, rather than match as 1 and 2.
    rf"(\d+(?:\.\d+)?|(?<![a-z{_NUMBERS[1]}-])(?:{'|'.join(_NUMBER_WORDS)}))[\s-]*(?:s\b|secs?\b|seconds?\b|秒)",
    re.IGNORECASE,
)
_PERCENT: Final = re.compile(r"(\d{1,3})\s*[%％]")
_QUOTED: Final = re.compile(r"[\"“「『](.+?)[\"”」』]|'([^']{2,})'(?!\w)")
_DEFAULT_VOLUME: Final = 0.35
_TUNES: Final = ("Lo-fi", "Warm piano", "City nights", "Acoustic morning")

TEMPORARY_ISSUE: Final = "I encountered a temporary issue. Please try again in a moment."

DID: Final = MappingProxyType(
    {
        "add_clip": ("I've placed your clip on the timeline.", "已将素材放入时间线。"),
        "add_text": ("I've added the text over the opening seconds.", "已为视频添加文字。"),
        "add_bgm": ("The background music now plays at {volume:.0%} volume.", "已添加背景音乐，音量为 {volume:.0%}。"),
        "trim": ("The clip is shorter now and the pauses are gone.", "已剪短视频，去掉了停顿。"),
        "remove_track": ("I've removed that track.", "已删除该轨道。"),
        "generate_video": ("Your new clip is generated and placed at the end.", "新片段已生成并放在末尾。"),
        "apply_effect": ("The look you asked for is applied to the whole clip.", "已将效果应用到整个视频。"),
    }
)

SCREEN: Final = (
    ("Click the Export button to save your video.", "点击“导出”按钮即可保存视频。"),
    ("Open the Effects panel to fine-tune the strength.", "打开右侧面板可以微调参数。"),
    ("You can drag the clip on the timeline to adjust it.", "您可以拖拽时间线上的片段进行调整。"),
    ("Preview the result in the timeline.", "您可以在时间线中预览效果。"),
    ("Check your account to see the credits left.", "可在账户页面查看剩余积分。"),
    ("", ""),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One change to the timeline, with the tool call that reports it."""

    tool: str
    args: dict[str, Any]
    change: Callable[[Draft], None]


class Talk:
    """The agent's replies in the session's language: English or Chinese."""

    def __init__(self, language: str, rng: random.Random, *, screens: bool = True) -> None:
        self._chinese = language.lower().startswith("zh")
        self.rng = rng
        self._screens = screens

    def done(self, steps: Iterable[Step]) -> str:
        """What was done, with one sentence for each step, and usually a piece of screen talk."""
        sentences = dict.fromkeys(self._pick(DID[step.tool]).format_map(step.args) for step in steps)
        # Drawn even if it is not used, so that later random choices stay the same.
        advice = self._pick(self.rng.choice(SCREEN))
        return self._join([*sentences, advice if self._screens else ""])

    def about(self, draft: Draft) -> str:
        """The answer to a question about the draft."""
        clips, seconds = len(draft.segments(TrackType.VIDEO)), draft.duration_ms / 1000
        texts = (
            f"The timeline holds {clips} video segments and runs for {seconds:.1f} seconds.",
            f"时间线上有 {clips} 个视频片段，总长 {seconds:.1f} 秒。",
        )
        return self._join([self._pick(texts), self._pick(SCREEN[3])])

    def wants_photo(self) -> str:
        return self._pick(("Whose face should I use? Please upload a reference photo first.", "请先上传一张参考照片。"))

    def wants_clip(self) -> str:
        return self._pick(("There is no clip here yet. Which one should I work on?", "您想编辑哪个视频？"))

    def wants_detail(self) -> str:
        return self._pick(("Should that apply to the whole clip?", "要应用到整个视频吗？"))

    def declines(self) -> str:
        return self._pick(("I'm sorry, I can't help with that request.", "抱歉，这个请求我无法完成。"))

    def _pick(self, texts: tuple[str, str]) -> str:
        return texts[self._chinese]

    def _join(self, sentences: list[str]) -> str:
        return ("" if self._chinese else " ").join(sentence for sentence in sentences if sentence)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the agent does with an instruction; without steps it only replies."""

    length: str
    """Which of the documented latencies it takes."""
    outcome: str
    cost: int = 0
    steps: Sequence[Step] = ()
    reply: str = ""


def plan(text: str, session: Session, talk: Talk) -> Plan:
    """Decide what to do with an instruction; nothing is changed yet."""
    if _QUESTION.search(text):
        return Plan("answer", "answered", reply=talk.about(session.draft))
    if _FACE_SWAP.search(text) and not session.has("image"):
        return Plan("answer", "asked back", reply=talk.wants_photo())
    if _GENERATE.search(text):
        steps = [_generate(text)]
        return Plan("generation", "applied", GENERATION_COST, steps, talk.done(steps))
    steps = [*_add_uploads(session), *_edits(text, session.draft, talk.rng)]
    if not session.media and session.draft.is_empty and all(step.tool == "apply_effect" for step in steps):
        return Plan("answer", "asked back", reply=talk.wants_clip())
    return Plan("edit", "applied", talk.rng.randint(*EDIT_COSTS), steps, talk.done(steps))


def groundwork(text: str) -> Step:
    """The first half of a two-step edit: a change that stays, but is not the whole edit."""
    return Step("prepare", {"for": text}, lambda draft: draft.add_effect(f"prepared: {text}"))


def second_pass(rng: random.Random) -> Step:
    """What the agent adds by itself shortly after it has generated a clip."""
    return _music(rng, _DEFAULT_VOLUME) if rng.random() < 0.5 else _title("Generated with care", TITLE_MS)


def add_upload(draft: Draft, media: Media) -> None:
    """Add an upload to the timeline. A photo beside a clip is a reference and is not added."""
    ms = round(media.facts.duration * 1000) if media.facts.duration else UNKNOWN_MS
    if media.kind == "audio":
        draft.add(TrackType.AUDIO, ms, name=media.filename, volume=1.0, size=media.size)
    elif media.kind == "video" or not draft.segments(TrackType.VIDEO):
        length = STILL_MS if media.kind == "image" else ms
        draft.add(TrackType.VIDEO, length, name=media.filename, size=media.size, src=media.cdn)


def _edits(text: str, draft: Draft, rng: random.Random) -> list[Step]:
    """One step for each thing that the instruction asks for; an effect if it asks for nothing known."""
    if _REMOVE.search(text):
        named = ((_MUSIC, TrackType.AUDIO), (_TEXT, TrackType.TEXT))
        steps = [_drop(kind) for pattern, kind in named if pattern.search(text) and draft.segments(kind)]
    else:
        steps = [_title(_title_text(text), _duration_ms(text) or TITLE_MS)] if _TEXT.search(text) else []
        steps += [_music(rng, _volume_in(text))] if _MUSIC.search(text) else []
    if _SHORTEN.search(text):
        to_ms = _duration_ms(text)
        steps.append(Step("trim", {"to_ms": to_ms}, lambda draft: draft.shorten(to_ms)))
    return steps or [Step("apply_effect", {"effect": text}, lambda draft: draft.add_effect(text))]


def _add_uploads(session: Session) -> list[Step]:
    """Add the uploads to an empty draft: an upload does not always fill it, and the agent then does that first."""
    if not session.draft.is_empty:
        return []
    return [Step("add_clip", {"name": media.filename}, partial(add_upload, media=media)) for media in session.media]


def _generate(text: str) -> Step:
    return Step(
        "generate_video",
        {"prompt": text},
        lambda draft: draft.add(TrackType.VIDEO, UNKNOWN_MS, name=f"generated: {text[:40]}", generated=True),
    )


def _music(rng: random.Random, volume: float) -> Step:
    tune = rng.choice(_TUNES)
    return Step("add_bgm", {"name": tune, "volume": volume}, lambda draft: draft.add_music(tune, volume))


def _title(text: str, ms: int) -> Step:
    return Step("add_text", {"text": text, "ms": ms}, lambda draft: draft.add_title(text, ms))


def _drop(kind: TrackType) -> Step:
    return Step("remove_track", {"tt": int(kind)}, lambda draft: draft.drop(kind))


def _title_text(text: str) -> str:
    quoted = _QUOTED.search(text)
    return next(filter(None, quoted.groups())) if quoted else text[:60]


def _duration_ms(text: str) -> int | None:
    """The first duration that an instruction names. One in quotation marks is part of a title."""
    match = _SECONDS.search(_QUOTED.sub(" ", text))
    return round(1000 * float(_NUMBER_WORDS.get(match[1].lower(), match[1]))) if match else None


def _volume_in(text: str) -> float:
    match = _PERCENT.search(_QUOTED.sub(" ", text))
    return min(100, int(match[1])) / 100 if match else _DEFAULT_VOLUME
