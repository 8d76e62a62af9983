"""Describes drafts: a draft's timeline and fingerprint, and what changed between two.

A draft comes from the service and may be any JSON. A part of an unexpected shape counts as absent, and nothing here
raises.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reelq.nemo.safe_text import to_float

_TRACK_KINDS: Final = {0: "Video", 1: "BGM", 7: "Title"}
_QUOTED_KIND: Final = "Title"
_NAME_KEYS: Final = ("title", "name", "text", "content", "label", "filename", "file_name")
_LONGEST_NAME: Final = 60
_SEGMENTS_SHOWN: Final = 6
_CHANGES_SHOWN: Final = 12
_LONGEST_DURATION_MS: Final = 10**12
"""About thirty years: a longer value is not a duration, and its digits would fill the line."""
_MAX_DEPTH: Final = 60
_BOOKKEEPING: Final = frozenset(
    {"updated_at", "updatedAt", "update_time", "updateTime", "timestamp", "last_modified", "lastModified", "saved_at"}
)
"""What the service updates with every save. The list is short on purpose: an edit that changes only these would count
as an edit without effect. Within `m` these keys count too, since `m` describes content."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """One item on the timeline, as far as it is shown."""

    kind: str
    name: str
    start: float
    end: float
    volume: str
    digest: str

    @property
    def span(self) -> str:
        return f"({_seconds(self.start)}-{_seconds(self.end)}s)"

    @property
    def label(self) -> str:
        if not self.name:
            return "untitled"
        return f"'{self.name}'" if self.kind == _QUOTED_KIND else self.name

    @property
    def line(self) -> str:
        label = f'"{self.name}"' if self.kind == _QUOTED_KIND and self.name else self.label
        volume = f", {self.volume}" if self.volume else ""
        return f"{label} ({_seconds(self.start)}-{_seconds(self.end)}s{volume})"


@dataclass(frozen=True, slots=True)
class _Track:
    kind: str
    segments: tuple[_Segment, ...]

    @property
    def line(self) -> str:
        shown = ", ".join(segment.line for segment in self.segments[:_SEGMENTS_SHOWN])
        more = len(self.segments) - _SEGMENTS_SHOWN
        return f"{self.kind}: {shown or 'empty'}" + (f" … and {more} more" if more > 0 else "")


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.2f}".rstrip("0").rstrip(".")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    number = to_float(value)
    return number if number is not None and abs(number) <= _LONGEST_DURATION_MS else None


def _duration(value: object) -> float:
    return max(_number(value) or 0, 0)


def _name(*sources: Mapping[str, Any]) -> str:
    """The first name that one of the sources has, on one line and shortened."""
    for source in sources:
        for key in _NAME_KEYS:
            value = source.get(key)
            if isinstance(value, str) and (plain := _plain(value)):
                return plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 1].rstrip() + "…"
    return ""


def _plain(text: str) -> str:
    """The text on one line, without double quotes and characters that could control a terminal."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable()).replace('"', "'").strip()


def _volume(*sources: Mapping[str, Any]) -> str:
    """A volume in per cent: it arrives as 0.35, as 35 or as "35%"."""
    for source in sources:
        value = source.get("volume")
        if isinstance(value, str) and re.fullmatch(r"\d{1,4}(?:\.\d{1,4})?%?", value.strip(), re.ASCII):
            number = float(value.strip().rstrip("%"))
            return f"{round(number if value.strip().endswith('%') or number > 1 else number * 100)}%"
        number_or_none = _number(value)
        if number_or_none is not None and 0 <= number_or_none <= 1000:
            return f"{round(number_or_none if number_or_none > 1 else number_or_none * 100)}%"
    return ""


def _kind(track: Mapping[str, Any]) -> str:
    number = _number(track.get("tt"))
    return _TRACK_KINDS.get(int(number), "Other") if number is not None and number == int(number) else "Other"


def _segments(track: Mapping[str, Any]) -> Iterator[_Segment]:
    """The segments of a track, placed one after another from 0."""
    kind, track_metadata, start = _kind(track), _mapping(track.get("m")), 0.0
    track_digest = fingerprint([track.get("tt"), track_metadata])
    for raw_segment in _sequence(track.get("sg")):
        segment = _mapping(raw_segment)
        metadata, end = _mapping(segment.get("m")), start + _duration(segment.get("d"))
        name = _name(metadata, segment, track_metadata)
        yield _Segment(
            kind, name, start, end, _volume(metadata, segment, track_metadata), fingerprint([track_digest, raw_segment])
        )
        start = end


def _tracks(draft: object) -> tuple[_Track, ...]:
    tracks = [_mapping(track) for track in _sequence(_mapping(draft).get("t"))]
    return tuple(_Track(_kind(track), tuple(_segments(track))) for track in tracks)


def timeline(draft: object) -> str:
    """The draft in one line, to show to people."""
    tracks = _tracks(draft)
    if not tracks:
        return "Timeline: empty"
    count = "1 track" if len(tracks) == 1 else f"{len(tracks)} tracks"
    listed = " ".join(f"{number}. {track.line}" for number, track in enumerate(tracks, 1))
    return f"Timeline ({count}): {listed}"


def has_segments(draft: object) -> bool:
    """Whether at least one track has a segment."""
    return any(track.segments for track in _tracks(draft))


def _canonical(value: object, *, within_m: bool = False, depth: int = 0) -> object:
    """An equal value for equal content: 10.0 becomes 10, keys become text, bookkeeping is left out."""
    if depth > _MAX_DEPTH:  # no real draft nests so deep, and the JSON encoder has a limit
        return f"{type(value).__name__} too deep"
    if isinstance(value, Mapping):
        return {
            str(key): _canonical(part, within_m=within_m or key == "m", depth=depth + 1)
            for key, part in value.items()
            if within_m or key not in _BOOKKEEPING
        }
    if isinstance(value, list | tuple):
        return [_canonical(part, within_m=within_m, depth=depth + 1) for part in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else repr(value)
    return value


def fingerprint(draft: object) -> str:
    """A digest of all content, under known keys or not; None and {} both mean "nothing"."""
    plain = json.dumps(_canonical(draft) or {}, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(plain.encode()).hexdigest()


def _segment_changes(before: _Segment, after: _Segment) -> Iterator[str]:
    """Describe the changes to one segment."""
    kind = _kind_in_sentence(after.kind)
    if before.name != after.name:
        yield f"{kind} changed: {before.label} → {after.label}"
    length = (after.end - after.start) - (before.end - before.start)
    if length:
        verb = "lengthened" if length > 0 else "shortened"
        yield f"{kind} {verb}: {after.label} {before.span} → {after.span}"
    if before.volume != after.volume:
        yield f"{kind} volume changed: {after.label} {before.volume or 'unset'} → {after.volume or 'unset'}"
    if before.digest != after.digest and (before.name, length, before.volume) == (after.name, 0, after.volume):
        yield f"look changed: {after.label}"


def _kind_in_sentence(kind: str) -> str:
    """A track's kind as written within a sentence."""
    return kind if kind.isupper() else kind.lower()


def _take_pairs(before: list[_Segment], after: list[_Segment], *, by_name: bool) -> Iterator[tuple[_Segment, _Segment]]:
    """Pair the segments that are the same item in both lists, and remove them from both."""
    unpaired: dict[tuple[str, str], list[_Segment]] = {}
    for old in before:
        unpaired.setdefault((old.kind, old.name if by_name else ""), []).append(old)
    for new in tuple(after):
        if olds := unpaired.get((new.kind, new.name if by_name else "")):
            old = olds.pop(0)
            before.remove(old)
            after.remove(new)
            yield old, new


def _differences(before: object, after: object) -> Iterator[str]:
    olds = [segment for track in _tracks(before) for segment in track.segments]
    news = [segment for track in _tracks(after) for segment in track.segments]
    if olds != news and Counter(old.digest for old in olds) == Counter(new.digest for new in news):
        yield "order changed"
        return
    unchanged = Counter(old.digest for old in olds) & Counter(new.digest for new in news)
    olds, news = list(_except(olds, unchanged)), list(_except(news, unchanged))
    for by_name in (True, False):  # equal names first; what is then left of a kind must have been renamed
        for old, new in _take_pairs(olds, news, by_name=by_name):
            yield from _segment_changes(old, new)
    yield from (f"{_kind_in_sentence(new.kind)} added: {new.label} {new.span}" for new in news)
    yield from (f"{_kind_in_sentence(old.kind)} removed: {old.label}" for old in olds)


def _except(segments: list[_Segment], digests: Counter[str]) -> Iterator[_Segment]:
    remaining = Counter(digests)
    for segment in segments:
        if remaining[segment.digest] > 0:
            remaining[segment.digest] -= 1
        else:
            yield segment


def changes(before: object, after: object) -> tuple[str, ...]:
    """Describe what changed from one draft to the other; empty exactly if their fingerprints are equal."""
    if fingerprint(before) == fingerprint(after):
        return ()
    descriptions = tuple(_differences(before, after)) or ("other details changed",)
    more = len(descriptions) - _CHANGES_SHOWN
    return descriptions if more <= 0 else (*descriptions[:_CHANGES_SHOWN], f"… and {more} more")
