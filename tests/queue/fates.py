"""What must come of a row whose worker is killed, for every moment at which it can be.

`killed_worker` tells how moments are named; here they stand in the order in which a row comes to them.
"""

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

FATES: Final = MappingProxyType(
    {
        # The lifeline lets the job in: it is marked, then published.
        "admit: before commit 1": MESSAGE_LOST,
        "admit: after commit 1": MESSAGE_LOST,
        # The claim.
        "upload: before commit 1": MESSAGE_LOST,
        "upload: after commit 1": RESCUED,
        # The session, and the token that it needs: the right to ask for it, the request, the token on record.
        "upload: before open_session": RESCUED,
        "upload: before commit 2": RESCUED,
        "upload: after commit 2": RESCUED,
        "upload: before ask_for_token": RESCUED,
        "upload: after ask_for_token": TOKEN_LOST,
        "upload: before commit 3": TOKEN_LOST,
        "upload: after commit 3": RESCUED,
        "upload: after open_session": SECOND_SESSION,
        # The file, and words about its progress.
        "upload: before upload": SECOND_SESSION,
        "upload: before commit 4": SECOND_SESSION,
        "upload: after commit 4": SECOND_SESSION,
        "upload: after upload": SECOND_SESSION,
        # The receipt.
        "upload: before commit 5": SECOND_SESSION,
        "upload: after commit 5": MESSAGE_LOST,
        # The claim.
        "edit: before commit 1": MESSAGE_LOST,
        "edit: after commit 1": RESCUED,
        # The balance before: the right to read it, the request, the reading. Then the baseline.
        "edit: before commit 2": RESCUED,
        "edit: after commit 2": RESCUED,
        "edit: before balance": RESCUED,
        "edit: after balance": RESCUED,
        "edit: before commit 3": RESCUED,
        "edit: after commit 3": RESCUED,
        "edit: before state": RESCUED,
        "edit: after state": RESCUED,
        # The decision to send.
        "edit: before commit 4": RESCUED,
        "edit: after commit 4": IN_DOUBT,
        # The instruction goes out; words about the agent's first tool, while the stream goes on.
        "edit: before send": IN_DOUBT,
        "edit: after the instruction has left": Fate(AS_THE_LEDGER_SAYS),
        "edit: after the stream has begun": RESCUED,
        "edit: before commit 5": RESCUED,
        "edit: after commit 5": RESCUED,
        "edit: after send": RESCUED,
        # The receipt, with the stream's proper end.
        "edit: before commit 6": RESCUED,
        "edit: after commit 6": MESSAGE_LOST,
        # The lifeline's balance after it, as the one before; and that no later drop of it is this row's.
        "ended: before commit 1": ELSEWHERE,
        "ended: after commit 1": ELSEWHERE,
        "ended: before balance": ELSEWHERE,
        "ended: after balance": ELSEWHERE,
        "ended: before commit 2": ELSEWHERE,
        "ended: after commit 2": ELSEWHERE,
        "ended: before commit 3": ELSEWHERE,
        "ended: after commit 3": ELSEWHERE,
        # The claim, one look, the receipt, which settles the decision to send.
        "verify: before commit 1": MESSAGE_LOST,
        "verify: after commit 1": RESCUED,
        "verify: before state": RESCUED,
        "verify: after state": RESCUED,
        "verify: before commit 2": RESCUED,
        "verify: after commit 2": MESSAGE_LOST,
        # The claim, the draft, the render's id on record, the export under it, the receipt.
        "render: before commit 1": MESSAGE_LOST,
        "render: after commit 1": RESCUED,
        "render: before state": RESCUED,
        "render: after state": RESCUED,
        "render: before commit 2": RESCUED,
        "render: after commit 2": RESCUED,
        "render: before render": RESCUED,
        "render: after render": RESCUED,
        "render: before commit 3": RESCUED,
        "render: after commit 3": MESSAGE_LOST,
        # The next look is due: marked, then begun.
        "due: before commit 1": MESSAGE_LOST,
        "due: after commit 1": MESSAGE_LOST,
        # One look, under no lease, and when the next one is due.
        "look: before progress": MESSAGE_LOST,
        "look: after progress": MESSAGE_LOST,
        "seen: before commit 1": MESSAGE_LOST,
        "seen: after commit 1": MESSAGE_LOST,
        # The look that sees it done, and where the file lies; then the message goes out.
        "last look: after progress": MESSAGE_LOST,
        "last seen: before commit 1": MESSAGE_LOST,
        "last seen: after commit 1": MESSAGE_LOST,
        # The claim, the receipt.
        "poll: before commit 1": MESSAGE_LOST,
        "poll: after commit 1": RESCUED,
        "poll: before commit 2": RESCUED,
        "poll: after commit 2": MESSAGE_LOST,
        # The claim; the file, with words about its progress when the first of it is there.
        "download: before commit 1": MESSAGE_LOST,
        "download: after commit 1": RESCUED,
        "download: before download": RESCUED,
        "download: before commit 2": RESCUED,
        "download: after commit 2": RESCUED,
        "download: after download": RESCUED,
        # The whole file to its place, the receipt.
        "download: before replace": RESCUED,
        "download: after replace": RESCUED,
        "download: before commit 3": RESCUED,
        "download: after commit 3": MESSAGE_LOST,
        # The lifeline takes the row back from a worker that was killed before, and is killed over it.
        "rescue: before commit 1": RESCUED,
        "rescue: after commit 1": RESCUED,
    }
)
RESCUE: Final = "rescue"
LOST_BEFORE_A_RESCUE: Final = "verify: after commit 1"
"""Where the worker is killed whose row is to be taken back."""

STREAM_LOST: Final = list(FATES)[
    list(FATES).index("edit: after the instruction has left") : list(FATES).index("edit: after commit 6")
]
"""The instruction may be there, and how its stream ended is known to nobody any more."""
COVERING: Final = (
    "admit: after commit 1",
    "upload: after commit 1",
    "upload: after ask_for_token",
    "upload: after commit 3",
    "upload: after open_session",
    "upload: before commit 5",
    "edit: after commit 2",
    "edit: after commit 3",
    "edit: before commit 4",
    "edit: after commit 4",
    "edit: after the instruction has left",
    "edit: after the stream has begun",
    "edit: before commit 6",
    "edit: after commit 6",
    "ended: after commit 2",
    "verify: before commit 2",
    "render: before commit 2",
    "render: after commit 2",
    "render: after render",
    "due: after commit 1",
    "seen: after commit 1",
    "last seen: after commit 1",
    "download: after download",
    "download: after replace",
    "rescue: after commit 1",
)
"""One of each kind: a claim, a receipt before and after its commit, every write and every request that can't be undone,
and each duty of the lifeline. Claims and receipts are the same for all stages.
"""
MOMENTS: Final = tuple(moment for moment in FATES if PROVING or moment in COVERING)
