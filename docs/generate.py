"""Writes docs/state-machine.md from the dicts in reelq/job.py; a test holds the file to them."""

from pathlib import Path
from typing import Final

from reelq.job import FINAL, PIPELINE, ROUTES, TRANSITIONS, Cause, Status

PAGE: Final = Path(__file__).with_name("state-machine.md")

_MEANS: Final = {
    Status.QUEUED: "the stage is due, or has a time when it will be",
    Status.RUNNING: "a worker is at it, under a lease",
    Status.WAITING: "parked, with a cause",
    Status.SUCCEEDED: "done; its result is there",
    Status.FAILED: "ended, with what happened and what to do",
    Status.CANCELLED: "ended by a person, or with the row that it builds on",
}
_CAUSES: Final = {
    Cause.CREDITS: "the account is out of credits; goes on by itself when there are some",
    Cause.PLAN: "the account's plan does not allow it; `reelq resume` after an upgrade",
    Cause.TOKEN: "no valid token can be had; `reelq resume` with another, or after seven days by itself",
    Cause.PAUSED: "a person paused it, or has not released it yet; `reelq resume`",
    Cause.SESSION: "the row before it works in the session that both share",
    Cause.TWIN: "the same row is under way in another batch; its result will be taken from there",
}


def page() -> str:
    """The whole page."""
    arrows = [f"  {before} --> {after}" for before, afters in TRANSITIONS.items() for after in sorted(afters)]
    return "\n".join(
        [
            "# The state machine",
            "",
            "Generated from `reelq/job.py` by `make docs`; `make test` fails where the two differ.",
            "",
            "A job's position is its stage and its status. One function, `move()` in `reelq/store/moves.py`, changes a",
            "status: it compares and sets on id, run, stage and status, and writes the event in the same transaction.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "  [*] --> queued",
            *arrows,
            "```",
            "",
            "| status | means | may become |",
            "| --- | --- | --- |",
            *(
                f"| `{each}`{' (final)' if each in FINAL else ''} | {_MEANS[each]} | {_listed(each)} |"
                for each in Status
            ),
            "",
            "A final status is left only when a person asks for it.",
            "",
            "| a job waits for | |",
            "| --- | --- |",
            *(f"| `{cause}` | {_CAUSES[cause]} |" for cause in Cause),
            "",
            "| route | stages |",
            "| --- | --- |",
            *(f"| `{route}` | {' → '.join(stages)} |" for route, stages in ROUTES.items()),
            "",
            f"All stages, in their order: {', '.join(f'`{stage}`' for stage in PIPELINE)}.",
            "",
        ]
    )


def _listed(status: Status) -> str:
    return ", ".join(f"`{after}`" for after in sorted(TRANSITIONS[status]))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
