"""The timeline of a session, in the short keys in which the service keeps it, and what can be done to it."""

import copy
import uuid
from enum import IntEnum
from typing import Any, Final

STILL_MS: Final = 3_000
UNKNOWN_MS: Final = 5_000
"""How long a clip counts whose length could not be read."""
TITLE_MS: Final = 3_000
SHORTEST_MS: Final = 200


class TrackType(IntEnum):
    """The numbers under `tt`."""

    VIDEO = 0
    AUDIO = 1
    TEXT = 7


Segment = dict[str, Any]


class Draft:
    """One timeline: tracks (`t`) of segments (`sg`), each with a length (`d`) and metadata (`m`)."""

    def __init__(self, name: str) -> None:
        self._json: dict[str, Any] = {
            "t": [],
            "d": 0,
            "m": {"name": name},
            "ratio": "source",
            "fps": 30,
            "rev": 0,
        }

    @property
    def is_empty(self) -> bool:
        return not any(track["sg"] for track in self._json["t"])

    @property
    def duration_ms(self) -> int:
        return int(self._json["d"])

    def as_json(self) -> dict[str, Any]:
        """A copy, as a client gets it."""
        return copy.deepcopy(self._json)

    def segments(self, kind: TrackType) -> list[Segment]:
        return [segment for track in self._json["t"] if track["tt"] == kind for segment in track["sg"]]

    def add(self, kind: TrackType, ms: int, **metadata: object) -> None:
        """A segment at the end of the first track of its type; a track is opened where there is none."""
        track = next((track for track in self._json["t"] if track["tt"] == kind), None) or self._open_track(kind)
        track["sg"].append({"id": _id("seg"), "d": ms, "m": metadata, "speed": 1.0})
        self._settle()

    def add_music(self, name: str, volume: float) -> None:
        self.add(TrackType.AUDIO, self.duration_ms or UNKNOWN_MS, name=name, volume=volume)

    def add_title(self, words: str, ms: int) -> None:
        """A text from the start on, beside the texts that are there: a track says only how long, not from when."""
        track = self._open_track(TrackType.TEXT)
        length = min(ms, self.duration_ms or ms)
        track["sg"].append({"id": _id("seg"), "d": length, "m": {"title": words}, "speed": 1.0})
        self._settle()

    def shorten(self, to_ms: int | None) -> None:
        """Every track ends by then; without a length the picture loses a fifth."""
        wanted = to_ms if to_ms and to_ms < self.duration_ms else self.duration_ms * 4 // 5
        for track in self._json["t"]:
            left = max(SHORTEST_MS, wanted)
            for segment in track["sg"]:
                segment["d"] = min(segment["d"], left)
                left -= segment["d"]
            track["sg"] = [segment for segment in track["sg"] if segment["d"] > 0]
        self._settle()

    def drop(self, kind: TrackType) -> None:
        self._json["t"] = [track for track in self._json["t"] if track["tt"] != kind]
        self._settle()

    def add_effect(self, words: str) -> None:
        """Something that shows in no track of its own: kept with each piece of the picture."""
        for segment in self.segments(TrackType.VIDEO) or [self._json]:
            segment["m"].setdefault("effects", []).append(words)
        self._settle()

    def _open_track(self, kind: TrackType) -> dict[str, Any]:
        track: dict[str, Any] = {"id": _id("trk"), "tt": int(kind), "sg": []}
        self._json["t"].append(track)
        return track

    def _settle(self) -> None:
        self._json["t"] = [track for track in self._json["t"] if track["sg"]]
        lengths = {track["tt"]: sum(segment["d"] for segment in track["sg"]) for track in self._json["t"]}
        self._json["d"] = lengths.get(TrackType.VIDEO, max(lengths.values(), default=0))
        self._json["rev"] += 1


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:12]}"
