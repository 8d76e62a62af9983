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
├── ServiceAway                the reelq REST service does not respond, or its answer broke off
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

The docstring of an error is its default message: users see it.
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

    def __init__(self, message: str = "", advice: str = "") -> None:
        super().__init__(message or self.summary())
        self.advice = advice or self.advice

    @classmethod
    def summary(cls) -> str:
        """What happened, from the docstring."""
        return (cls.__doc__ or cls.code).strip().rstrip(".")


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

    advice = "Fix these lines and run the same command again. Nothing was started."

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


class RowFailed(ReelqError):
    """A row failed, though none of its requests did."""


class NoEffect(RowFailed):
    """The agent answered but changed nothing."""

    advice = "Read its reply. `reelq refine` answers a question; `reelq retry` sends the instruction again."


class EditUnconfirmed(RowFailed):
    """The stream was lost, and nothing shows that the edit happened."""

    advice = "`reelq retry` checks once more, and sends the instruction again only if nothing has changed."


class SessionLost(RowFailed):
    """The remote session is lost, with everything in it."""

    advice = "`reelq retry` starts over with the upload. The credits spent in the lost session are not refunded."


SESSION_OF_OTHERS_LOST: Final = (
    "`reelq retry` starts over with the earlier rows of the session, which cost their credits again."
)


class NothingToExport(RowFailed):
    """The session's timeline is empty."""

    advice = "Give the row a file, or an instruction that creates something to export."


class RenderFailed(RowFailed):
    """The export failed twice."""

    advice = "`reelq retry` exports again, which is free. The edit is kept."


class RenderStuck(RowFailed):
    """The export timed out twice."""

    advice = "`reelq retry` exports again, which is free. The edit is kept."


class Poisoned(RowFailed):
    """Ten workers in a row stopped responding while they ran this row."""

    advice = "Check the workers' logs for the cause before you run `reelq retry`."


class LimitReached(ReelqError):
    """The batch has reached its credit limit."""

    advice = "`reelq resume` lifts the limit; `reelq credits` shows what was spent."


class FileUnreadable(ReelqError):
    """An input file is missing or unreadable when it is to be uploaded."""

    advice = "Put the file back where the manifest expects it, then run `reelq retry`."


class CannotRefine(ReelqError):
    """A row has no session for further instructions."""

    advice = "`reelq show` shows the state of the row. You can also change the row in its manifest and run it again."


class CannotWrite(ReelqError):
    """A result can't be written."""

    advice = "Free disk space or fix the permissions of the output folder, then run `reelq retry`."


class AddressRefused(ReelqError):
    """The address is not public, or not valid."""

    advice = "Use a public address, or allow your own network with REELQ_ALLOWED_NETWORKS."


class ServiceAway(ReelqError):
    """The reelq REST service does not respond, or its answer broke off."""

    advice = "Check that it is running and that REELQ_API_URL is correct; `reelq doctor` checks both."


class ServiceRefused(ReelqError):
    """The reelq REST service refused a request; its reason is the message."""

    def __init__(self, message: str, advice: str = "", told: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, advice)
        self.told = told or {}
        """The whole answer."""


class RemoteError(ReelqError):
    """A request to the remote service failed."""

    def __init__(self, message: str = "", *, raw: str = "", remote_code: int | None = None) -> None:
        super().__init__(message)
        self.raw = raw[:_MAX_RAW_LENGTH]
        """The raw answer, shortened and without tokens."""
        self.remote_code = remote_code


class PassingFault(RemoteError):
    """A temporary error."""


class NotSent(PassingFault):
    """No connection to the service could be made; nothing was sent."""

    advice = "Check the network and NEMO_API_URL, then run `reelq retry`. Nothing was sent, and nothing was spent."


class ConnectionLost(PassingFault):
    """The connection broke before the answer was complete."""

    advice = "Check the network, then run `reelq retry`: the row continues where it stopped."


class TimedOut(PassingFault):
    """No answer came in time."""

    advice = "The service is slow or unavailable. `reelq retry` continues where the row stopped."


class ServerTrouble(PassingFault):
    """The service answered with an error of its own (5xx)."""

    advice = "The service has a problem. Run `reelq retry` later: the row continues where it stopped."


class Unintelligible(PassingFault):
    """The service's answer breaks its contract."""

    advice = "If this persists, the service has changed: update reelq, or report the raw answer."


class SessionBusy(PassingFault):
    """The session already runs an export; the service allows one at a time."""

    advice = "reelq tries again by itself until that export has finished."


class BrokenDownload(PassingFault):
    """The downloaded file is not the expected one."""

    advice = "`reelq retry` downloads it again, which is free."


class StreamLost(RemoteError):
    """The instruction was sent, but its outcome is unknown."""

    advice = "reelq reads the session's state to find out; it never sends the instruction again by itself."


class StreamNeverBegan(StreamLost):
    """The answer was neither the agent's stream nor a refusal."""


class StreamCut(StreamLost):
    """The agent's stream broke off."""


class StreamSilent(StreamLost):
    """The agent's stream sent only keep-alives for too long."""


class StreamOverran(StreamLost):
    """The agent's stream ran longer than any stream may."""


class RateLimited(RemoteError):
    """The service asks for fewer requests (429)."""

    advice = "reelq waits and continues by itself. Lower REELQ_MAX_IN_FLIGHT if this happens often."


class TokenQuota(RateLimited):
    """No free token is available yet: the service issues one per client in 7 days."""

    advice = "Wait until seven days after the last free token, or register and set NEMO_TOKEN."


class TokenRefused(RemoteError):
    """The service does not accept the token."""

    advice = "reelq renews a free token by itself. Replace your own NEMO_TOKEN with a valid one."


class ClientIdMissing(RemoteError):
    """The service received no client id (400)."""

    advice = "Set NEMO_CLIENT_ID, or let reelq keep one in ~/.config/nemovideo/client_id."


class SessionGone(RemoteError):
    """The remote session no longer exists (1002)."""

    advice = "A row for which nothing was sent starts over by itself; for any other, run `reelq retry`."


class CreditsExhausted(RemoteError):
    """The account is out of credits (2001)."""

    advice = "Register (the link is shown) or top up. The rows wait, and continue by themselves."


class PlanRequired(RemoteError):
    """The account's plan does not allow this (402); credits do not matter here."""

    advice = "Register or upgrade the plan, then `reelq resume`; the finished edit is kept."


class FileRefused(RemoteError):
    """The service does not accept this file."""


class TypeNotAccepted(FileRefused):
    """The service does not accept this type of file (4001)."""

    advice = "Convert it to an accepted type: mp4 mov avi webm mkv, jpg png gif webp, mp3 wav m4a aac. MP4 works best."


class FileTooLarge(FileRefused):
    """The file is too large for the service (4002)."""

    advice = "Compress or trim it: a file may have at most 500 MB."


class AgentFailed(RemoteError):
    """The agent reported an error."""

    advice = "`reelq retry` sends the instruction again in the same session."


class RenderDuplicate(RemoteError):
    """The service already has a render with this id."""


class RenderUnknown(RemoteError):
    """The service has no render with this id."""


class ResultMissing(RemoteError):
    """The finished file is not at its URL."""

    advice = "`reelq retry` exports again, which is free."


class Rejected(RemoteError):
    """The service refused the request for an undocumented reason."""

    advice = "The raw answer is kept with the row: see `reelq show`. `reelq retry` tries again."
