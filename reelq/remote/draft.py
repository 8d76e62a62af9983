"""A draft as it came from the service, in words: its timeline, its fingerprint, and what changed between two.

A draft is theirs, and may be anything that JSON can say: whatever has not the expected form counts as not there, and
nothing here raises.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_KINDS: Final = {0: "Video", 1: "BGM", 7: "Title"}
_QUOTED_KIND: Final = "Title"
_NAMES: Final = ("title", "name", "text", "content", "label", "filename", "file_name")
_LONGEST_NAME: Final = 60
_SEGMENTS_SHOWN: Final = 6
_CHANGES_SHOWN: Final = 12
_LONGEST_DURATION_MS: Final = 10**12
"""Some thirty years: longer is no duration, and would drown the line in digits."""
_DEEPEST: Final = 60

_BOOKKEEPING: Final = frozenset(
    {"updated_at", "updatedAt", "update_time", "updateTime", "timestamp", "last_modified", "lastModified", "saved_at"}
)
"""What the service counts for itself with every save. Narrow on purpose: a change that is overlooked here would be
taken for an edit without effect. Within `m` even these count, as that is where content is described."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """One thing on the timeline, as far as people are told of it."""

    kind: str
    name: str
    start: float
    end: float
    volume: str
    print: str

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
        heard = f", {self.volume}" if self.volume else ""
        return f"{label} ({_seconds(self.start)}-{_seconds(self.end)}s{heard})"


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_LONGEST_DURATION_MS <= value <= _LONGEST_DURATION_MS else None


def _duration(value: object) -> float:
    return max(_number(value) or 0, 0)


def _name(*sources: Mapping[str, Any]) -> str:
    """The first name that one of the sources has, on one line and not too long."""
    for source in sources:
        for key in _NAMES:
            named = source.get(key)
            if isinstance(named, str) and (plain := _plain(named)):
                return plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 1].rstrip() + "…"
    return ""


def _plain(text: str) -> str:
    """Text on one line, without quotes of the kind it will stand in or signs that would steer a terminal."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable()).replace('"', "'").strip()


def _volume(*sources: Mapping[str, Any]) -> str:
    """A volume as per cent: it comes as 0.35, as 35 and as "35%"."""
    for source in sources:
        given = source.get("volume")
        if isinstance(given, str) and re.fullmatch(r"\d{1,4}(?:\.\d{1,4})?%?", given.strip(), re.ASCII):
            share = float(given.strip().rstrip("%"))
            return f"{round(share if given.strip().endswith('%') or share > 1 else share * 100)}%"
        share_or_none = _number(given)
        if share_or_none is not None and 0 <= share_or_none <= 1000:
            return f"{round(share_or_none if share_or_none > 1 else share_or_none * 100)}%"
    return ""


def _kind(track: Mapping[str, Any]) -> str:
    number = _number(track.get("tt"))
    return _KINDS.get(int(number), "Other") if number is not None and number == int(number) else "Other"


def _segments(track: Mapping[str, Any]) -> Iterator[_Segment]:
    """The segments of a track, one after the other from the beginning."""
    kind, about_track, at = _kind(track), _mapping(track.get("m")), 0.0
    print_of_track = fingerprint([track.get("tt"), about_track])
    for given in _sequence(track.get("sg")):
        segment = _mapping(given)
        about, end = _mapping(segment.get("m")), at + _duration(segment.get("d"))
        name = _name(about, segment, about_track)
        yield _Segment(
            kind,
            name,
            at,
            end,
            _volume(about, segment, about_track),
            fingerprint([print_of_track, given]),
        )
        at = end


def _tracks(draft: object) -> tuple[_Track, ...]:
    tracks = [_mapping(track) for track in _sequence(_mapping(draft).get("t"))]
    return tuple(_Track(_kind(track), tuple(_segments(track))) for track in tracks)


def timeline(draft: object) -> str:
    """The draft in one line, as people are shown it."""
    tracks = _tracks(draft)
    if not tracks:
        return "Timeline: empty"
    counted = "1 track" if len(tracks) == 1 else f"{len(tracks)} tracks"
    listed = " ".join(f"{number}. {track.line}" for number, track in enumerate(tracks, 1))
    return f"Timeline ({counted}): {listed}"


def exportable(draft: object) -> bool:
    """Whether at least one track has something on it."""
    return any(track.segments for track in _tracks(draft))


def _canonical(value: object, *, within_m: bool = False, depth: int = 0) -> object:
    """The same for the same content: 10.0 is 10, the keys are text, bookkeeping is left out."""
    if depth > _DEEPEST:  # nothing sensible nests so deep, and the encoder's own depth has an end
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
    """A digest of all that is content, known keys or not; None and {} are both "nothing"."""
    plain = json.dumps(_canonical(draft) or {}, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(plain.encode()).hexdigest()


def _reworded(before: _Segment, after: _Segment) -> Iterator[str]:
    """What became of one segment, in words."""
    kind = _word(after.kind)
    if before.name != after.name:
        yield f"{kind} changed: {before.label} → {after.label}"
    length = (after.end - after.start) - (before.end - before.start)
    if length:
        verb = "lengthened" if length > 0 else "shortened"
        yield f"{kind} {verb}: {after.label} {before.span} → {after.span}"
    if before.volume != after.volume:
        yield f"{kind} volume changed: {after.label} {before.volume or 'unset'} → {after.volume or 'unset'}"
    if before.print != after.print and (before.name, length, before.volume) == (after.name, 0, after.volume):
        yield f"look changed: {after.label}"


def _word(kind: str) -> str:
    """A kind of track within a sentence."""
    return kind if kind.isupper() else kind.lower()


def _take_pairs(before: list[_Segment], after: list[_Segment], *, by_name: bool) -> Iterator[tuple[_Segment, _Segment]]:
    """Pair what is the same thing in both, and take the pairs out of both lists."""
    waiting: dict[tuple[str, str], list[_Segment]] = {}
    for old in before:
        waiting.setdefault((old.kind, old.name if by_name else ""), []).append(old)
    for new in tuple(after):
        if olds := waiting.get((new.kind, new.name if by_name else "")):
            old = olds.pop(0)
            before.remove(old)
            after.remove(new)
            yield old, new


def _differences(before: object, after: object) -> Iterator[str]:
    olds = [segment for track in _tracks(before) for segment in track.segments]
    news = [segment for track in _tracks(after) for segment in track.segments]
    if olds != news and Counter(old.print for old in olds) == Counter(new.print for new in news):
        yield "order changed"
        return
    unchanged = Counter(old.print for old in olds) & Counter(new.print for new in news)
    olds, news = list(_without(olds, unchanged)), list(_without(news, unchanged))
    for by_name in (True, False):  # the same name first; then whatever of its kind is left must have been renamed
        for old, new in _take_pairs(olds, news, by_name=by_name):
            yield from _reworded(old, new)
    yield from (f"{_word(new.kind)} added: {new.label} {new.span}" for new in news)
    yield from (f"{_word(old.kind)} removed: {old.label}" for old in olds)


def _without(segments: list[_Segment], some: Counter[str]) -> Iterator[_Segment]:
    left = Counter(some)
    for segment in segments:
        if left[segment.print] > 0:
            left[segment.print] -= 1
        else:
            yield segment


def changes(before: object, after: object) -> tuple[str, ...]:
    """What changed from one draft to the other, in words: empty exactly where their fingerprints agree."""
    if fingerprint(before) == fingerprint(after):
        return ()
    told = tuple(_differences(before, after)) or ("other details changed",)
    more = len(told) - _CHANGES_SHOWN
    return told if more <= 0 else (*told[:_CHANGES_SHOWN], f"… and {more} more")
