"""What must come of a row whose worker is killed, for every moment at which it can be.

`killed_worker` tells how moments are named; here steps stand in the order in which a row comes to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    small: bool = field(default=False, compare=False)
    """Tried in the small form too, which has one of each kind: a claim, a receipt before and after its commit, every
    write and every request that can't be undone, and each duty of the lifeline."""


RESCUED: Final = Fate()
ELSEWHERE: Final = Fate(rescued=None)
MESSAGE_LOST: Final = Fate(rescued=False)
SECOND_SESSION: Final = Fate(sessions=2)
"""The first was not on record yet, and nothing was sent to it: worthless."""
TOKEN_LOST: Final = Fate("token", sessions=0)
"""The one free token of seven days died with the worker. The row waits, and says for what."""
IN_DOUBT: Final = Fate("edit_unconfirmed")
"""The decision stands and nothing went out, which nobody can tell from a stream that was lost."""


def _at(step: str, before: Fate, after: Fate, *small: str) -> Mapping[str, Fate]:
    """The fates of a row whose worker is killed before this step and after it; which of them the small form tries."""
    where, _, what = step.partition(": ")
    both = {"before": before, "after": after}
    return {f"{where}: {when} {what}": replace(fate, small=when in small) for when, fate in both.items()}


def _claim(stage: str, *small: str) -> Mapping[str, Fate]:
    return _at(f"{stage}: writing jobs.status=running", MESSAGE_LOST, RESCUED, *small)


def _receipt(stage: str, to: str, *small: str, before: Fate = RESCUED) -> Mapping[str, Fate]:
    return _at(f"{stage}: writing jobs.{to}", before, MESSAGE_LOST, *small)


FATES: Final = MappingProxyType(
    {
        # The lifeline lets the job in: it is marked, then published.
        **_at("due work: writing jobs.admitted", MESSAGE_LOST, MESSAGE_LOST, "after"),
        # The session, and the token that it needs: the right to ask for it, the request, the token on record.
        **_claim("upload", "after"),
        **_at("upload: open_session", RESCUED, SECOND_SESSION, "after"),
        **_at("upload: writing accounts.refreshing_until", RESCUED, RESCUED),
        **_at("upload: ask_for_token", RESCUED, TOKEN_LOST, "after"),
        **_at("upload: writing accounts.token", TOKEN_LOST, RESCUED, "after"),
        # The file, and words about its progress.
        **_at("upload: upload", SECOND_SESSION, SECOND_SESSION),
        **_at("upload: writing job_events", SECOND_SESSION, SECOND_SESSION),
        **_receipt("upload", "stage=edit", "before", before=SECOND_SESSION),
        # The balance before: the right to read it, the request, the reading. Then the baseline.
        **_claim("edit"),
        **_at("edit: writing accounts.reading_until", RESCUED, RESCUED, "after"),
        **_at("edit: balance", RESCUED, RESCUED),
        **_at("edit: writing credit_readings", RESCUED, RESCUED, "after"),
        **_at("edit: state", RESCUED, RESCUED),
        # The decision to send.
        **_at("edit: writing sends", RESCUED, IN_DOUBT, "before", "after"),
        # The instruction goes out; words about the agent's first tool, while the stream goes on.
        **_at("edit: send", IN_DOUBT, RESCUED),
        "edit: after the instruction has left": Fate(AS_THE_LEDGER_SAYS, small=True),
        "edit: after the stream has begun": Fate(small=True),
        **_at("edit: writing job_events", RESCUED, RESCUED),
        # The receipt, with the stream's proper end.
        **_receipt("edit", "stage=verify", "before", "after"),
        # The lifeline's balance after it, as the one before; and that no later drop of it is this row's.
        **_at("costs: writing accounts.reading_until", ELSEWHERE, ELSEWHERE),
        **_at("costs: balance", ELSEWHERE, ELSEWHERE),
        **_at("costs: writing credit_readings", ELSEWHERE, ELSEWHERE, "after"),
        **_at("costs: writing sends.bears_costs", ELSEWHERE, ELSEWHERE),
        # One look; the receipt settles the decision to send.
        **_claim("verify"),
        **_at("verify: state", RESCUED, RESCUED),
        **_receipt("verify", "stage=render", "before"),
        # The draft, the render's id on record, the export under it.
        **_claim("render"),
        **_at("render: state", RESCUED, RESCUED),
        **_at("render: writing jobs.remote_render_id", RESCUED, RESCUED, "before", "after"),
        **_at("render: render", RESCUED, RESCUED, "after"),
        **_receipt("render", "stage=poll"),
        # The next look is due: marked, then begun.
        **_at("due work: writing jobs.due_at", MESSAGE_LOST, MESSAGE_LOST, "after"),
        # One look, under no lease, and when the next one is due.
        **_at("look: progress", MESSAGE_LOST, MESSAGE_LOST),
        **_at("looks: writing jobs.due_at", MESSAGE_LOST, MESSAGE_LOST, "after"),
        # The look that sees it done, and where the file lies; then the message goes out.
        "look: after progress, done": MESSAGE_LOST,
        **_at("looks: writing jobs.result_url", MESSAGE_LOST, MESSAGE_LOST, "after"),
        **_claim("poll"),
        **_receipt("poll", "stage=download"),
        # The file, with words about its progress when the first of it is there; the whole file to its place.
        **_claim("download"),
        **_at("download: download", RESCUED, RESCUED, "after"),
        **_at("download: writing job_events", RESCUED, RESCUED),
        **_at("download: replace", RESCUED, RESCUED, "after"),
        **_receipt("download", "status=succeeded"),
        # The lifeline takes the row back from a worker that was killed before, and is killed over it.
        **_at("silent workers: writing jobs.status=queued", RESCUED, RESCUED, "after"),
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
MOMENTS: Final = tuple(moment for moment, fate in FATES.items() if PROVING or fate.small)
