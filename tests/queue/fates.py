"""What must come of a row whose worker is killed, for every moment at which it can be.

`killed_worker` tells how moments are named; here steps stand in the order in which a row comes to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tests.queue.sizes import PROVING

AS_THE_LEDGER_SAYS: Final = "succeeded if the instruction arrived"


@dataclass(frozen=True, slots=True)
class Fate:
    """What must come of a row whose worker was killed, by itself."""

    ends: str = "succeeded"
    """Its status or error; the cause, where it waits."""
    rescued: bool | None = True
    """It was under a lease that has lapsed, so its run rises; else no more than its message was lost. None where the
    worker was at something else, and the row is wherever it is."""
    sessions: int = 1


RESCUED: Final = Fate()
ELSEWHERE: Final = Fate(rescued=None)
MESSAGE_LOST: Final = Fate(rescued=False)
SECOND_SESSION: Final = Fate(sessions=2)
"""The first was not on record yet, and nothing was sent to it: worthless."""
TOKEN_LOST: Final = Fate("token", sessions=0)
"""The one free token of seven days died with the worker. The row waits, and says for what."""
IN_DOUBT: Final = Fate("edit_unconfirmed")
"""The decision stands and nothing went out, which nobody can tell from a stream that was lost."""


def _at(step: str, before: Fate, after: Fate) -> Mapping[str, Fate]:
    """The fates of a row whose worker is killed before this step and after it."""
    where, _, what = step.partition(": ")
    return {f"{where}: before {what}": before, f"{where}: after {what}": after}


def _claim(stage: str) -> Mapping[str, Fate]:
    return _at(f"{stage}: writing jobs.status=running", MESSAGE_LOST, RESCUED)


def _receipt(stage: str, to: str, before: Fate = RESCUED) -> Mapping[str, Fate]:
    return _at(f"{stage}: writing jobs.{to}", before, MESSAGE_LOST)


FATES: Final = MappingProxyType(
    {
        # The lifeline lets the job in: it is marked, then published.
        **_at("due work: writing jobs.admitted", MESSAGE_LOST, MESSAGE_LOST),
        # The session, and the token that it needs: the right to ask for it, the request, the token on record.
        **_claim("upload"),
        **_at("upload: open_session", RESCUED, SECOND_SESSION),
        **_at("upload: writing accounts.refreshing_until", RESCUED, RESCUED),
        **_at("upload: ask_for_token", RESCUED, TOKEN_LOST),
        **_at("upload: writing accounts.token", TOKEN_LOST, RESCUED),
        # The file, and words about its progress.
        **_at("upload: upload", SECOND_SESSION, SECOND_SESSION),
        **_at("upload: writing job_events", SECOND_SESSION, SECOND_SESSION),
        **_receipt("upload", "stage=edit", SECOND_SESSION),
        # The balance before: the right to read it, the request, the reading. Then the baseline.
        **_claim("edit"),
        **_at("edit: writing accounts.reading_until", RESCUED, RESCUED),
        **_at("edit: balance", RESCUED, RESCUED),
        **_at("edit: writing credit_readings", RESCUED, RESCUED),
        **_at("edit: state", RESCUED, RESCUED),
        # The decision to send.
        **_at("edit: writing sends", RESCUED, IN_DOUBT),
        # The instruction goes out; words about the agent's first tool, while the stream goes on.
        **_at("edit: send", IN_DOUBT, RESCUED),
        "edit: after the instruction has left": Fate(AS_THE_LEDGER_SAYS),
        "edit: after the stream has begun": RESCUED,
        **_at("edit: writing job_events", RESCUED, RESCUED),
        # The receipt, with the stream's proper end.
        **_receipt("edit", "stage=verify"),
        # The lifeline's balance after it, as the one before; and that no later drop of it is this row's.
        **_at("costs: writing accounts.reading_until", ELSEWHERE, ELSEWHERE),
        **_at("costs: balance", ELSEWHERE, ELSEWHERE),
        **_at("costs: writing credit_readings", ELSEWHERE, ELSEWHERE),
        **_at("costs: writing sends.bears_costs", ELSEWHERE, ELSEWHERE),
        # One look; the receipt settles the decision to send.
        **_claim("verify"),
        **_at("verify: state", RESCUED, RESCUED),
        **_receipt("verify", "stage=render"),
        # The draft, the render's id on record, the export under it.
        **_claim("render"),
        **_at("render: state", RESCUED, RESCUED),
        **_at("render: writing jobs.remote_render_id", RESCUED, RESCUED),
        **_at("render: render", RESCUED, RESCUED),
        **_receipt("render", "stage=poll"),
        # The next look is due: marked, then begun.
        **_at("due work: writing jobs.due_at", MESSAGE_LOST, MESSAGE_LOST),
        # One look, under no lease, and when the next one is due.
        **_at("look: progress", MESSAGE_LOST, MESSAGE_LOST),
        **_at("looks: writing jobs.due_at", MESSAGE_LOST, MESSAGE_LOST),
        # The look that sees it done, and where the file lies; then the message goes out.
        "look: after progress, done": MESSAGE_LOST,
        **_at("looks: writing jobs.result_url", MESSAGE_LOST, MESSAGE_LOST),
        **_claim("poll"),
        **_receipt("poll", "stage=download"),
        # The file, with words about its progress when the first of it is there; the whole file to its place.
        **_claim("download"),
        **_at("download: download", RESCUED, RESCUED),
        **_at("download: writing job_events", RESCUED, RESCUED),
        **_at("download: replace", RESCUED, RESCUED),
        **_receipt("download", "status=succeeded"),
        # The lifeline takes the row back from a worker that was killed before, and is killed over it.
        **_at("silent workers: writing jobs.status=queued", RESCUED, RESCUED),
    }
)
RESCUE: Final = "silent workers"
LOST_BEFORE_A_RESCUE: Final = "verify: after writing jobs.status=running"
"""Where the worker is killed whose row is to be taken back."""

STREAM_LOST: Final = (
    "edit: after the instruction has left",
    "edit: after the stream has begun",
    "edit: before writing job_events",
    "edit: after writing job_events",
    "edit: after send",
    "edit: before writing jobs.stage=verify",
)
"""The instruction may be there, and how its stream ended is known to nobody any more."""
COVERING: Final = (
    "due work: after writing jobs.admitted",
    "upload: after writing jobs.status=running",
    "upload: after ask_for_token",
    "upload: after writing accounts.token",
    "upload: after open_session",
    "upload: before writing jobs.stage=edit",
    "edit: after writing accounts.reading_until",
    "edit: after writing credit_readings",
    "edit: before writing sends",
    "edit: after writing sends",
    "edit: after the instruction has left",
    "edit: after the stream has begun",
    "edit: before writing jobs.stage=verify",
    "edit: after writing jobs.stage=verify",
    "costs: after writing credit_readings",
    "verify: before writing jobs.stage=render",
    "render: before writing jobs.remote_render_id",
    "render: after writing jobs.remote_render_id",
    "render: after render",
    "due work: after writing jobs.due_at",
    "looks: after writing jobs.due_at",
    "looks: after writing jobs.result_url",
    "download: after download",
    "download: after replace",
    "silent workers: after writing jobs.status=queued",
)
"""One of each kind: a claim, a receipt before and after its commit, every write and every request that can't be undone,
and each duty of the lifeline. Claims and receipts are the same for all stages.
"""
MOMENTS: Final = tuple(moment for moment in FATES if PROVING or moment in COVERING)
