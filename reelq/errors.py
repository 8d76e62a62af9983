"""Every error of reelq, named by what happened. One pure function elsewhere decides what to do about it.

ReelqError
├── ManifestError              the manifest can't be run as it is; carries every fault, with line and column
├── SettingsError              a variable of the environment can't be understood
├── SkillError                 a profile can't be read, or is not there
├── UnknownName                no batch or row is called that, or more than one is
├── RowFailed                  a row can't go on, though nothing is broken
│   ├── NoEffect               the agent answered, and the draft is as it was
│   ├── EditUnconfirmed        a lost stream, and nothing shows that the edit took place
│   ├── SessionLost            the remote session is gone, and what was paid for with it
│   ├── NothingToExport        the session's timeline is empty
│   ├── RenderFailed           the export failed, and so did a second one
│   ├── RenderStuck            the export came to no end, and neither did a second one
│   └── Poisoned               ten workers in a row fell silent over it
├── LimitReached               the batch may not spend more than its `--limit-credits`
├── FileUnreadable             a clip is gone, or can't be read, now that it is to be sent
├── CannotRefine               a row has left no session that it could be told more in
├── CannotWrite                a result can't be written: no room, no permission
├── AddressRefused             nothing may be sent to that address: it is not a public one, or none at all
├── ServiceAway                the reelq service that a command asks does not answer, or broke off
├── ServiceRefused             it did not do what it was asked
└── RemoteError                the service, or the way to it
    ├── PassingFault           likely gone in a moment: try again
    │   ├── NotSent            no connection was made; nothing left this machine
    │   ├── ConnectionLost     the request went out and no whole answer came back
    │   ├── TimedOut           … and no answer came in time
    │   ├── ServerTrouble      HTTP 5xx
    │   ├── Unintelligible     an answer that is not what the contract says; kept raw
    │   ├── SessionBusy        one export at a time per session, and there is one
    │   └── BrokenDownload     the file that arrived is not the file that was promised
    ├── StreamLost             an instruction was sent, its outcome is in doubt: settle by reading
    │   ├── StreamNeverBegan   something else came back than a stream, and it is no refusal either
    │   ├── StreamCut          the stream broke off
    │   ├── StreamSilent       keep-alives and nothing else, for too long
    │   └── StreamOverran      still going after the longest life a stream has
    ├── RateLimited            429
    │   └── TokenQuota         429 from the token endpoint: one token per client per 7 days
    ├── TokenRefused           1001, 1010, 1011, HTTP 401
    ├── ClientIdMissing        400 from the token endpoint
    ├── SessionGone            1002, HTTP 404 on a session's path
    ├── CreditsExhausted       2001
    ├── PlanRequired           402
    ├── FileRefused
    │   ├── TypeNotAccepted    4001, HTTP 415
    │   └── FileTooLarge       4002, HTTP 413
    ├── AgentFailed            the agent's own error, told inside a stream
    ├── RenderDuplicate        the render id is taken: it is there already
    ├── RenderUnknown          no render has that id
    ├── ResultMissing          HTTP 403, 404, 410 on a result's address
    └── Rejected               a refusal that the contract does not name; kept raw

An error's `code` is its class's name in snake case: the word in results, filters and metrics.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_RAW_KEPT: Final = 2000


class ReelqError(Exception):
    """The root: whatever reelq raises on purpose."""

    code: ClassVar[str] = "reelq_error"
    advice: str = ""
    """What the user can do, in a sentence; empty where there is nothing to do but wait."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.code = _WORD_START.sub("_", cls.__name__).lower()


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong with a manifest, or worth a warning: where it is, what was found, how to mend it.

    Line 0 is the manifest as a whole.
    """

    line: int
    column: str
    message: str
    value: str = ""
    hint: str = ""
    row: int = 0

    def __str__(self) -> str:
        at = f"line {self.line}" + (f", {self.column}" if self.column else "") + ": " if self.line else ""
        found = f" (found {self.value!r})" if self.value else ""
        return f"{at}{self.message}{found}" + (f". {self.hint}" if self.hint else "")


class ManifestError(ReelqError):
    """The manifest can't be run; `faults` holds all that is wrong with it, not only the first."""

    advice = "Mend the lines named and run the same command again: nothing was started."

    def __init__(self, faults: Sequence[Fault], warnings: Sequence[Fault] = ()) -> None:
        self.faults = tuple(faults)
        self.warnings = tuple(warnings)
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(f"{self.faults[0]}{more}")


class SettingsError(ReelqError):
    """A variable holds something that can't be understood."""

    advice = "Correct or unset the variable; `reelq doctor` explains each."


class SkillError(ReelqError):
    """A skill's profile can't be read, or no profile has that name."""

    advice = "`reelq skills` lists the profiles there are and the folder for your own."


class UnknownName(ReelqError):
    """No batch or row is called that, or more than one is; `advice` says what is near."""

    def __init__(self, message: str, advice: str = "") -> None:
        self.advice = advice
        super().__init__(message)


class RowFailed(ReelqError):
    """A row can't go on, though nothing is broken."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or self.code).strip().rstrip("."))


class NoEffect(RowFailed):
    """The agent answered, and the draft is as it was."""

    advice = "Read its reply: `reelq refine` answers a question, `reelq retry` sends the instruction once more."


class EditUnconfirmed(RowFailed):
    """The stream was lost, and nothing shows that the edit took place."""

    advice = "`reelq retry` looks once more, and sends the instruction again only if nothing has changed."


class SessionLost(RowFailed):
    """The remote session is gone, and what it held with it."""

    advice = "`reelq retry` begins again with the upload; what the lost session cost is not given back."


SESSION_OF_OTHERS_LOST: Final = (
    "`reelq retry` begins again with the rows before it in its session, which cost their credits once more."
)


class NothingToExport(RowFailed):
    """The session's timeline is empty."""

    advice = "Give the row a file, or an instruction that makes something, before it exports."


class RenderFailed(RowFailed):
    """The export failed, and so did a second one."""

    advice = "`reelq retry` exports again, which is free; the edit is kept."


class RenderStuck(RowFailed):
    """The export came to no end, and neither did a second one."""

    advice = "`reelq retry` exports again, which is free; the edit is kept."


class Poisoned(RowFailed):
    """Ten workers in a row fell silent over this row."""

    advice = "Look at the workers' logs for what it does to them before `reelq retry`."


class LimitReached(ReelqError):
    """The batch has spent, or set aside, all that it may."""

    advice = "`reelq resume` lifts the limit; `reelq credits` shows what was spent."

    def __init__(self) -> None:
        super().__init__("The batch has reached its limit of credits")


class FileUnreadable(ReelqError):
    """A clip that is to be sent is gone or can't be read."""

    advice = "Put the file back where the manifest says, then `reelq retry`."


class CannotRefine(ReelqError):
    """A row has left no session that it could be told more in."""

    advice = "`reelq show` tells where the row is; a row of a manifest can be changed there and run again."


class CannotWrite(ReelqError):
    """A result can't be written."""

    advice = "Make room or give permission in the output folder; the finished video waits with the service."


class AddressRefused(ReelqError):
    """Nothing may be sent to that address."""

    advice = "Name a public address; networks of one's own are allowed by REELQ_ALLOWED_NETWORKS."


class ServiceAway(ReelqError):
    """The reelq service that a command asks does not answer, or its answer broke off."""

    advice = "Is it running, and REELQ_API_URL right? `reelq doctor` looks at both."

    def __init__(self, message: str, advice: str = "") -> None:
        self.advice = advice or self.advice
        super().__init__(message)


class ServiceRefused(ReelqError):
    """The reelq service that a command asks did not do it; what it says for itself is the message."""

    def __init__(self, message: str, advice: str = "", told: Mapping[str, Any] | None = None) -> None:
        self.advice = advice
        self.told = told or {}
        """All that it said."""
        super().__init__(message)


class RemoteError(ReelqError):
    """Something between us and a finished video, told by the service or by the way to it."""

    def __init__(self, message: str = "", *, raw: str = "", remote_code: int | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or self.code).strip().rstrip("."))
        self.raw = raw[:_RAW_KEPT]
        """The answer as it came, shortened, without tokens."""
        self.remote_code = remote_code


class PassingFault(RemoteError):
    """A fault that is likely gone in a moment."""


class NotSent(PassingFault):
    """No connection to the service could be made; nothing was sent."""

    advice = "Check the network and NEMO_API_URL, then `reelq retry`: nothing was sent, and nothing spent."


class ConnectionLost(PassingFault):
    """The connection broke before the answer was complete."""

    advice = "Check the network, then `reelq retry`: it goes on where the row stands."


class TimedOut(PassingFault):
    """No answer came in time."""

    advice = "The service is slow or away: `reelq retry` goes on where the row stands."


class ServerTrouble(PassingFault):
    """The service answered with an error of its own (5xx)."""

    advice = "The service is in trouble: `reelq retry`, later, goes on where the row stands."


class Unintelligible(PassingFault):
    """The service's answer is not what its contract says."""

    advice = "If it stays, the service has changed: update reelq, or report the raw answer."


class SessionBusy(PassingFault):
    """The session has another export under way; the service takes one at a time."""

    advice = "reelq asks again by itself until that one is done."


class BrokenDownload(PassingFault):
    """The file that arrived is not the file that was promised."""

    advice = "`reelq retry` downloads it again, which is free."


class StreamLost(RemoteError):
    """The instruction was sent and its outcome is in doubt."""

    advice = "reelq reads the session's state to find out; it never sends the instruction again by itself."


class StreamNeverBegan(StreamLost):
    """Something else came back than the agent's stream, and it does not say that the instruction was refused."""


class StreamCut(StreamLost):
    """The agent's stream broke off."""


class StreamSilent(StreamLost):
    """The agent's stream carried nothing but keep-alives for too long."""


class StreamOverran(StreamLost):
    """The agent's stream outlived the longest life that a stream has."""


class RateLimited(RemoteError):
    """The service asks for fewer requests (429)."""

    advice = "reelq waits and goes on by itself; a smaller REELQ_MAX_IN_FLIGHT makes it rarer."


class TokenQuota(RateLimited):
    """No further free token yet: the service gives one per client in 7 days."""

    advice = "Wait until seven days after the last free token, or register and set NEMO_TOKEN."


class TokenRefused(RemoteError):
    """The service does not accept the token."""

    advice = "A free token is renewed by itself; a NEMO_TOKEN of your own has to be replaced by a valid one."


class ClientIdMissing(RemoteError):
    """The service saw no client id (400)."""

    advice = "Set NEMO_CLIENT_ID, or let reelq keep one in ~/.config/nemovideo/client_id."


class SessionGone(RemoteError):
    """The remote session is not there any more (1002); what it held is gone."""

    advice = "A row to which nothing was sent starts over by itself; for any other, `reelq retry` begins again."


class CreditsExhausted(RemoteError):
    """The account is out of credits (2001)."""

    advice = "Register (the link is shown) or top up; the rows wait and go on by themselves."


class PlanRequired(RemoteError):
    """The account's plan does not allow this (402); credits do not matter here."""

    advice = "Register or upgrade the plan, then `reelq resume`; the finished edit is kept."


class FileRefused(RemoteError):
    """The service does not take this file."""


class TypeNotAccepted(FileRefused):
    """The service does not accept this type of file (4001)."""

    advice = "Convert it: mp4 mov avi webm mkv, jpg png gif webp, mp3 wav m4a aac are accepted; MP4 goes smoothest."


class FileTooLarge(FileRefused):
    """The file is too large for the service (4002)."""

    advice = "At most 500 MB a file: compress or trim it."


class AgentFailed(RemoteError):
    """The agent told of an error of its own."""

    advice = "`reelq retry` sends the instruction once more in the same session."


class RenderDuplicate(RemoteError):
    """The service already has a render with this id."""


class RenderUnknown(RemoteError):
    """The service knows no render with this id."""


class ResultMissing(RemoteError):
    """The finished file is not at its address."""

    advice = "`reelq retry` exports again, which is free."


class Rejected(RemoteError):
    """The service refused, for a reason that its contract does not name."""

    advice = "The raw answer is kept with the row; `reelq retry` tries again."
