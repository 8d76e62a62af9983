"""The faults in force: how often each strikes, how many times, where and for how long.

A fault is set to a rate, `rate_limited=0.2`, or to an object with any of
`rate` (0 to 1), `count` (only the next N), `on` (only these endpoints), `for` (only the next S seconds) and
`seconds` (how long, for a fault that is a duration). A bare number is the rate, or the seconds of a duration.
"""

import json
import math
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from sandbox.kinds import KINDS, Canned, Endpoint, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnknownFault(ValueError):
    """The name or the setting of a fault is invalid; the message says what is valid."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How often, how many times, where and how long one fault strikes."""

    rate: float = 1.0
    count: int | None = None
    on: tuple[str, ...] = ()
    until: float | None = None
    seconds: float = 0.0

    def covers(self, endpoint: Endpoint) -> bool:
        if self.on and endpoint not in self.on:
            return False
        if self.until is not None and time.monotonic() > self.until:
            return False
        return self.count is None or self.count > 0


class Faults:
    """The faults in force. A reset restores those that the process was started with."""

    def __init__(self, started_with: "Mapping[str, object]", seed: int) -> None:
        self._defaults = {kind.name: Setting(rate=kind.usual) for kind in KINDS.values() if kind.usual}
        self._started_with = started_with
        self._seed = seed
        self.struck: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self._rng = random.Random(f"{self._seed}/faults")
        self._active = dict(self._defaults)
        self.struck.clear()
        self.change(self._started_with)

    def change(self, faults: "Mapping[str, object]") -> None:
        """Merge these faults into those in force; None removes a fault. Either all are valid, or nothing changes."""
        settings = {name: None if value is None else read_setting(name, value) for name, value in faults.items()}
        for name, setting in settings.items():
            if setting is None:
                self._active.pop(name, None)
            else:
                self._active[name] = setting

    def strikes(self, name: str, endpoint: Endpoint) -> Setting | None:
        """The fault's setting if it strikes this request, else None; each strike uses up one of its count."""
        setting = self._active.get(name)
        if setting is None or not setting.covers(endpoint):
            return None
        if setting.rate < 1 and self._rng.random() >= setting.rate:
            return None
        if setting.count is not None:
            self._active[name] = replace(setting, count=setting.count - 1)
        self.struck[name] += 1
        return setting

    def canned_answer(self, endpoint: Endpoint) -> Canned | None:
        """The fixed response to send here instead of doing any work, if a fault asks for one."""
        for name in tuple(self._active):
            kind = KINDS[name]
            if kind.canned and endpoint in kind.endpoints and self.strikes(name, endpoint):
                return kind.canned
        return None

    def seconds(self, name: str) -> float | None:
        """The duration that is set for this fault, if there is one."""
        setting = self._active.get(name)
        return None if setting is None else setting.seconds

    def shown(self) -> dict[str, object]:
        """The faults in force, how often each has struck, and all faults that exist."""
        return {
            "now": {name: asdict(setting) for name, setting in self._active.items()},
            "struck": dict(self.struck),
            "known": {
                kind.name: {"means": kind.means, "measure": kind.measure, "on": sorted(kind.endpoints)}
                for kind in KINDS.values()
            },
        }


def read_setting(name: str, value: object) -> Setting:
    """Parse the setting of a fault from JSON: a number, true or false, or an object."""
    kind = KINDS.get(name)
    if kind is None:
        raise UnknownFault(f"no fault is named {name}; available: {', '.join(sorted(KINDS))}")
    if isinstance(value, int | float):
        value = {kind.measure: value}
    if not isinstance(value, dict) or not value.keys() <= {"rate", "count", "on", "for", "seconds"}:
        fields = "rate, count, on, for or seconds"
        raise UnknownFault(f"{name}: give a number, or an object with {fields}; not {_shown(value)}")
    if kind.measure == "seconds" and "seconds" not in value:
        raise UnknownFault(f"{name} is a duration: give the number of seconds")
    return Setting(
        rate=_number(name, "rate", value.get("rate", 1), 1),
        count=None if value.get("count") is None else int(_number(name, "count", value["count"], float("inf"))),
        on=_endpoints(kind, value.get("on", ())),
        until=None if "for" not in value else time.monotonic() + _number(name, "for", value["for"], float("inf")),
        seconds=_number(name, "seconds", value.get("seconds", 0), float("inf")),
    )


def read_words(text: str) -> tuple[str, object]:
    """Parse `name=0.2` or `name=count:2,on:render+poll`, as on the command line, for `read_setting`."""
    name, _, value = text.partition("=")
    if ":" not in value:
        return name, _parse_number(name, value or "1")
    return name, dict(_parse_field(name, part) for part in value.split(","))


def _parse_field(name: str, part: str) -> tuple[str, object]:
    key, colon, value = part.partition(":")
    if not colon:
        raise UnknownFault(f"{name}: each part is key:value, and {part} is not")
    if not value:
        raise UnknownFault(f"{name}: {key} has no value")
    return key, value.split("+") if key == "on" else _parse_number(name, value)


def _parse_number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UnknownFault(f"{name}: '{value}' is not a number") from None


def _number(name: str, field: str, value: object, maximum: float) -> float:
    if not isinstance(value, int | float) or not (math.isfinite(value) and 0 <= value <= maximum):
        limits = "from 0 to 1" if maximum == 1 else "from 0"
        raise UnknownFault(f"{name}: {field} must be a number {limits}, not {_shown(value)}")
    if field == "count" and value != int(value):
        raise UnknownFault(f"{name}: count must be a whole number, not {_shown(value)}")
    return float(value)


def _endpoints(kind: Kind, value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
    if names is None or not all(isinstance(name, str) and name in kind.endpoints for name in names):
        raise UnknownFault(f"{kind.name}: `on` takes any of {', '.join(sorted(kind.endpoints))}; not {_shown(value)}")
    return names


def _shown(value: object) -> str:
    """A value as its sender wrote it."""
    return json.dumps(value, ensure_ascii=False)
