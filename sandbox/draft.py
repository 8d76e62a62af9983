"""A session's timeline, in the service's short keys, and the edits that it supports."""

import copy
import uuid
from enum import IntEnum
from typing import Any, Final

STILL_MS: Final = 3_000
UNKNOWN_MS: Final = 5_000
"""The assumed length of a clip whose length could not be read."""
TITLE_MS: Final = 3_000
SHORTEST_MS: Final = 200


class TrackType(IntEnum):
    """The values of `tt`."""

    VIDEO = 0
    AUDIO = 1
    TEXT = 7


class Draft:
    """One timeline: tracks (`t`) of segments (`sg`), each with a length (`d`) and metadata (`m`)."""

    def __init__(self, name: str) -> None:
        self._json: dict[str, Any] = {"t": [], "d": 0, "m": {"name": name}, "ratio": "source", "fps": 30, "rev": 0}

    @property
    def is_empty(self) -> bool:
        return not any(track["sg"] for track in self._json["t"])

    @property
    def duration_ms(self) -> int:
        return int(self._json["d"])

    def as_json(self) -> dict[str, Any]:
        """A copy of the draft, as a client gets it."""
        return copy.deepcopy(self._json)

    def segments(self, kind: TrackType) -> list[dict[str, Any]]:
        return [segment for track in self._json["t"] if track["tt"] == kind for segment in track["sg"]]

    def add(self, kind: TrackType, ms: int, **metadata: object) -> None:
        """Append a segment to the first track of its type; opens a track if there is none."""
        track = next((track for track in self._json["t"] if track["tt"] == kind), None) or self._open_track(kind)
        self._append(track, ms, metadata)

    def add_music(self, name: str, volume: float) -> None:
        self.add(TrackType.AUDIO, self.duration_ms or UNKNOWN_MS, name=name, volume=volume)

    def add_title(self, text: str, ms: int) -> None:
        """Add a text from the start, on a track of its own: segments have lengths but no start times."""
        self._append(self._open_track(TrackType.TEXT), min(ms, self.duration_ms or ms), {"title": text})

    def shorten(self, to_ms: int | None) -> None:
        """End every track at `to_ms`; without it, cut the timeline by a fifth."""
        target = to_ms if to_ms and to_ms < self.duration_ms else self.duration_ms * 4 // 5
        for track in self._json["t"]:
            remaining = max(SHORTEST_MS, target)
            for segment in track["sg"]:
                segment["d"] = min(segment["d"], remaining)
                remaining -= segment["d"]
            track["sg"] = [segment for segment in track["sg"] if segment["d"] > 0]
        self._recompute()

    def drop(self, kind: TrackType) -> None:
        self._json["t"] = [track for track in self._json["t"] if track["tt"] != kind]
        self._recompute()

    def add_effect(self, text: str) -> None:
        """Add an effect. It has no track: every video segment stores it, or the draft if there is none."""
        for segment in self.segments(TrackType.VIDEO) or [self._json]:
            segment["m"].setdefault("effects", []).append(text)
        self._recompute()

    def _open_track(self, kind: TrackType) -> dict[str, Any]:
        track: dict[str, Any] = {"id": _id("trk"), "tt": int(kind), "sg": []}
        self._json["t"].append(track)
        return track

    def _append(self, track: dict[str, Any], ms: int, metadata: dict[str, Any]) -> None:
        track["sg"].append({"id": _id("seg"), "d": ms, "m": metadata, "speed": 1.0})
        self._recompute()

    def _recompute(self) -> None:
        self._json["t"] = [track for track in self._json["t"] if track["sg"]]
        lengths = {track["tt"]: sum(segment["d"] for segment in track["sg"]) for track in self._json["t"]}
        self._json["d"] = lengths.get(TrackType.VIDEO, max(lengths.values(), default=0))
        self._json["rev"] += 1


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:12]}"
