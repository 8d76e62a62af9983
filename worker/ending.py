"""What a message's task does once its stage has been dealt with, and what it tells those who watch tasks."""

from dataclasses import dataclass
from enum import StrEnum

from reelq.errors import ReelqError
from worker.desk import Cancelled


class Ending(StrEnum):
    """How a task ends, for the chain that it is a link of."""

    GO_ON = "the chain's next message goes out"
    DONE = "the stage is done, and what follows is not due yet: when it is, the lifeline publishes it, or looks first"
    STOP = "the chain ends here; if there is more to do, the lifeline publishes it"


class Came(StrEnum):
    """How a stage ended, in the word that metrics and the log have for it."""

    DONE = "done"
    NOT_YET = "not_yet"
    AGAIN = "again"
    HELD_OFF = "held_off"
    PARKED = "parked"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LET_GO = "let_go"


@dataclass(frozen=True, slots=True)
class Later:
    """As STOP, told as a retry: the stage comes again, or waits for somebody."""

    why: str
    came: Came = Came.AGAIN


@dataclass(frozen=True, slots=True)
class Failed:
    """As STOP, told as a failure: the row has ended here."""

    why: str
    code: str


Ended = Ending | Later | Failed


def how_it_came(outcome: object, ended: Ended) -> tuple[Came, str, str]:
    """How a stage ended that gave or raised this, why where that is to be told, and its error's code."""
    match ended:
        case Later(why, came):
            return came, why, outcome.code if isinstance(outcome, ReelqError) else "internal"
        case Failed(why, code):
            return Came.FAILED, why, code
        case _:
            return Came.CANCELLED if isinstance(outcome, Cancelled) else Came.DONE, "", ""
