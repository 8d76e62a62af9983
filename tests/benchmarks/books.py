"""What the stand-in's books tell about a contender: the same questions for all, asked of the one who was called."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

Note = Mapping[str, Any]

_FILES: Final = ("cdn", "download")


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest of the values that so large a part of them does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """The middle, what nineteen of twenty don't exceed, and the worst; None where nothing was seen, which is not 0."""
    if not values:
        return None
    median, p95 = percentile(values, 0.5), percentile(values, 0.95)
    return {"median": median, "p95": p95, "most": max(values), "count": len(values)}


class Books:
    """The ledger and the requests of one run. All times are of the stand-in's one clock."""

    def __init__(self, ledger: Note, requests: Sequence[Note]) -> None:
        self._sessions: Mapping[str, Note] = ledger["sessions"]
        self._renders: Sequence[Note] = ledger["renders"]
        self._requests = requests

    def figures(self, look_every: float) -> dict[str, Any]:
        """All that nobody can colour."""
        return {
            "stage_delay_s": spread(self.stage_delays()),
            "noticed_s": spread(self.noticed()),
            "look_late_s": spread(self.late_looks(look_every)),
            "sent_twice": self.sent_twice(),
        }

    def stage_delays(self) -> list[float]:
        """From the end of an upload, an edit, a first look at what it did and a look at a finished render to the row's
        next request."""
        return [delay for session in self._sessions for delay in self._delays_of(session)]

    def noticed(self) -> list[float]:
        """How long each finished render waited until its owner was told."""
        ends = {render["id"]: render["ended_at"] for render in self._renders}
        return [told - ends[id_] for id_, told in self._told_at.items()]

    def late_looks(self, interval: float) -> list[float]:
        """How much more than the interval lay before each look."""
        times = ([render["at"], *(look["at"] for look in render["looks"])] for render in self._renders)
        return [max(0.0, later - earlier - interval) for each in times for earlier, later in pairwise(each)]

    def sent_twice(self) -> int:
        """Messages beyond the first that the agent took on for the same row, in whichever session."""
        taken: Counter[str] = Counter()
        for id_, session in self._sessions.items():
            taken[self._row(id_)] += sum(message["outcome"] != "refused" for message in session["messages"])
        return sum(count - 1 for count in taken.values() if count > 1)

    def going_on(self, since: float) -> dict[str, float | None]:
        """Rows that were under way at this time, each with the seconds to its next request; None where none came."""
        times: dict[str, list[float]] = defaultdict(list)
        finished = set()
        for session, requests in self._by_session.items():
            times[self._row(session)] += [request["at"] for request in requests]
            files = (request["ended_at"] for request in requests if request["endpoint"] in _FILES)
            if any(ended_at and ended_at <= since for ended_at in files):
                finished.add(self._row(session))
        under_way = {row: at for row, at in times.items() if min(at) <= since and row not in finished}
        return {row: min((one - since for one in at if one > since), default=None) for row, at in under_way.items()}

    @cached_property
    def _by_session(self) -> dict[str, list[Note]]:
        found: dict[str, list[Note]] = defaultdict(list)
        for request in self._requests:
            if (session := self._session_of(request)) is not None:
                found[session].append(request)
        return found

    @cached_property
    def _owners(self) -> dict[str, str]:
        """Renders and files by whose they are."""
        files = {render["file"]: render["session"] for render in self._renders if render["file"]}
        return files | {render["id"]: render["session"] for render in self._renders}

    def _session_of(self, request: Note) -> str | None:
        about = request["about"]
        return about if about in self._sessions else self._owners.get(about)

    def _row(self, session: str) -> str:
        """Rows are told apart by their clips; one whose clip never came is its session."""
        uploads = self._sessions[session]["uploads"]
        return str(uploads[0]["filename"]) if uploads else session

    def _delays_of(self, session: str) -> Iterator[float]:
        requests = self._by_session[session]
        edit_end = next((each["ended_at"] for each in requests if each["endpoint"] == "edit"), None)
        for number, request in enumerate(requests[:-1]):
            if request["ended_at"] and self._ends_a_stage(request, edit_end):
                yield requests[number + 1]["at"] - request["ended_at"]
                if request["endpoint"] == "state":
                    edit_end = None  # only the first look after it

    def _ends_a_stage(self, request: Note, edit_end: float | None) -> bool:
        if request["endpoint"] == "state":
            return edit_end is not None and request["at"] >= edit_end
        if request["endpoint"] == "poll":
            told = self._told_at.get(request["about"])
            return told is not None and request["at"] <= told <= request["ended_at"]
        return request["endpoint"] in ("upload", "edit")

    @cached_property
    def _told_at(self) -> dict[str, float]:
        """By render: when a look was first told that it is done."""
        looks = ((render["id"], look) for render in reversed(self._renders) for look in reversed(render["looks"]))
        return {id_: look["at"] for id_, look in looks if look["status"] == "completed"}
