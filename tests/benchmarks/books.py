"""What the stand-in's books tell about a contender: the same questions for all, asked of the one who was called."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

Note = Mapping[str, Any]

_FILES: Final = ("cdn", "download")


class Books:
    """The ledger and the requests of one run. All times are of the stand-in's one clock."""

    def __init__(self, ledger: Note, requests: Sequence[Note]) -> None:
        self._sessions: Mapping[str, Note] = ledger["sessions"]
        self._renders: Sequence[Note] = ledger["renders"]
        self._requests = requests

    def stage_delays(self) -> list[float]:
        """From the end of an upload, an edit, a first look at what it did and a look at a finished render to the row's
        next request."""
        return [delay for session in self._sessions for delay in self._delays_of(session)]

    def noticed(self) -> list[float]:
        """How long each finished render waited until its owner was told."""
        told = ((render, self._telling(render)) for render in self._renders)
        return [look["at"] - render["ended_at"] for render, look in told if look]

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
        for request in self._requests:
            session = self._session_of(request)
            if session is None:
                continue
            times[self._row(session)].append(request["at"])
            if request["endpoint"] in _FILES and request["ended_at"] and request["ended_at"] <= since:
                finished.add(self._row(session))
        under_way = {row: at for row, at in times.items() if min(at) <= since and row not in finished}
        return {row: min((one - since for one in at if one > since), default=None) for row, at in under_way.items()}

    @cached_property
    def _by_session(self) -> dict[str, list[Note]]:
        found: dict[str, list[Note]] = defaultdict(list)
        for request in self._requests:
            session = self._session_of(request)
            if session is not None:
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

    def _telling(self, render: Note) -> Note | None:
        """The first look that was told that it is done."""
        return next((look for look in render["looks"] if look["status"] == "completed"), None)

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
            return any(request["at"] <= at <= request["ended_at"] for at in self._told_at.get(request["about"], []))
        return request["endpoint"] in ("upload", "edit")

    @cached_property
    def _told_at(self) -> dict[str, list[float]]:
        tellings = ((render["id"], self._telling(render)) for render in self._renders)
        return {id_: [look["at"]] if look else [] for id_, look in tellings}
