"""All errors of reelq, named by what happened. One pure function elsewhere decides what to do about each.

ReelqError
├── ManifestError              the manifest has faults; carries all of them, with line and column
├── SettingsError              an environment variable has an invalid value
├── SkillError                 a skill's profile is invalid or missing
├── UnknownName                no batch or row has this name, or more than one has
├── RowFailed                  a row failed, though none of its requests did
│   ├── NoEffect               the agent answered but changed nothing
│   ├── EditUnconfirmed        the stream was lost, and nothing shows that the edit happened
│   ├── SessionLost            the remote session is lost, with everything in it
│   ├── NothingToExport        the session's timeline is empty
│   ├── RenderFailed           the export failed twice
│   ├── RenderStuck            the export timed out twice
│   └── Poisoned               ten leases in a row expired while workers ran it
├── LimitReached               the batch has reached its `--limit-credits`
├── FileUnreadable             an input file is missing or unreadable when it is to be uploaded
├── CannotRefine               a row has no session for further instructions
├── CannotWrite                a result can't be written: disk full, no permission
├── AddressRefused             the address is not public, or not valid
├── ServiceAway                the reelq REST service does not answer, or its answer broke off
├── ServiceRefused             the reelq REST service refused a request
└── RemoteError                a request to the remote service failed
    ├── PassingFault           temporary: try again
    │   ├── NotSent            no connection was made, so nothing was sent
    │   ├── ConnectionLost     the request was sent, but no complete answer arrived
    │   ├── TimedOut           the request was sent, but no answer arrived in time
    │   ├── ServerTrouble      HTTP 5xx
    │   ├── Unintelligible     the answer breaks the contract; the raw answer is kept
    │   ├── SessionBusy        the session already runs an export
    │   └── BrokenDownload     the downloaded file is not the expected one
    ├── StreamLost             an instruction was sent, its outcome is unknown: settle it by reading
    │   ├── StreamNeverBegan   the answer was neither a stream nor a refusal
    │   ├── StreamCut          the stream broke off
    │   ├── StreamSilent       nothing but keep-alives for too long
    │   └── StreamOverran      the stream ran longer than any stream may
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
    ├── AgentFailed            the agent reported an error inside its stream
    ├── RenderDuplicate        a render with this id exists already
    ├── RenderUnknown          no render has this id
    ├── ResultMissing          HTTP 403, 404, 410 for a result's URL
    └── Rejected               a refusal that the contract does not name; the raw answer is kept

An error's `code` is its class name in snake case. Results, filters and metrics use it.

The docstring of a subclass of RowFailed or RemoteError is its default message: users see it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX_RAW_LENGTH: Final = 2000


class ReelqError(Exception):
    """The base of all errors that reelq raises on purpose."""

    code: ClassVar[str] = "reelq_error"
    advice: str = ""
    """What the user can do, in a sentence; empty if they can only wait."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.code = _WORD_START.sub("_", cls.__name__).lower()


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """An error or a warning about a manifest: where it is, what was found, how to fix it.

    Line 0 stands for the whole manifest.
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
    """The manifest can't be run; `faults` holds all errors in it, not only the first."""

    advice = "Mend the lines named and run the same command again: nothing was started."

    def __init__(self, faults: Sequence[Fault], warnings: Sequence[Fault] = ()) -> None:
        self.faults = tuple(faults)
        self.warnings = tuple(warnings)
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(f"{self.faults[0]}{more}")


class SettingsError(ReelqError):
    """An environment variable has an invalid value."""

    advice = "Correct or unset the variable; `reelq doctor` explains each."


class SkillError(ReelqError):
    """A skill's profile is invalid, or no profile has this name."""

    advice = "`reelq skills` lists the profiles there are and the folder for your own."


class UnknownName(ReelqError):
    """No batch or row has this name, or more than one has; `advice` suggests similar names."""

    def __init__(self, message: str, advice: str = "") -> None:
        self.advice = advice
        super().__init__(message)


class RowFailed(ReelqError):
    """A row failed, though none of its requests did. The docstring of each subclass is its default message."""

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
    """The batch has spent or reserved all credits that it may use."""

    advice = "`reelq resume` lifts the limit; `reelq credits` shows what was spent."

    def __init__(self) -> None:
        super().__init__("The batch has reached its limit of credits")


class FileUnreadable(ReelqError):
    """An input file is missing or unreadable when it is to be uploaded."""

    advice = "Put the file back where the manifest says, then `reelq retry`."


class CannotRefine(ReelqError):
    """A row has no session for further instructions."""

    advice = "`reelq show` tells where the row is; a row of a manifest can be changed there and run again."


class CannotWrite(ReelqError):
    """A result can't be written."""

    advice = "Make room or give permission in the output folder; the finished video waits with the service."


class AddressRefused(ReelqError):
    """The address is not public, or not valid."""

    advice = "Name a public address; networks of one's own are allowed by REELQ_ALLOWED_NETWORKS."


class ServiceAway(ReelqError):
    """The reelq REST service does not answer, or its answer broke off."""

    advice = "Is it running, and REELQ_API_URL right? `reelq doctor` looks at both."

    def __init__(self, message: str, advice: str = "") -> None:
        self.advice = advice or self.advice
        super().__init__(message)


class ServiceRefused(ReelqError):
    """The reelq REST service refused a request; its reason is the message."""

    def __init__(self, message: str, advice: str = "", told: Mapping[str, Any] | None = None) -> None:
        self.advice = advice
        self.told = told or {}
        """The whole answer."""
        super().__init__(message)


class RemoteError(ReelqError):
    """Something between us and a finished video, told by the service or by the way to it."""

    def __init__(self, message: str = "", *, raw: str = "", remote_code: int | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or self.code).strip().rstrip("."))
        self.raw = raw[:_MAX_RAW_LENGTH]
        """The raw answer, shortened and without tokens."""
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
