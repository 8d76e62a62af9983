"""Writes the pages that the code knows best, state-machine.md and settings.md; tests hold the files to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reelq.job import FINAL, PIPELINE, ROUTES, TRANSITIONS, Cause, Status
from reelq.settings import DESCRIPTIONS, Settings

STATES: Final = Path(__file__).with_name("state-machine.md")
SETTINGS: Final = Path(__file__).with_name("settings.md")

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


_GROUPS: Final = {
    "The service": ("NEMO_", "SKILL_", "REELQ_ANON"),
    "Where the truth is kept, and who works": (
        "REELQ_D",
        "REELQ_B",
        "REELQ_SECRET",
        "REELQ_KEEP",
        "REELQ_LOG",
        "REELQ_MET",
    ),
    "The REST service, and asking one that is somewhere else": ("REELQ_API", "REELQ_ALLOWED"),
    "How much at once, how long to wait": ("REELQ_",),
}
"""By how their names begin; the first group that takes a variable has it."""
_WITHOUT: Final = {
    "NEMO_TOKEN": "none",
    "NEMO_CLIENT_ID": "made once, kept in `~/.config/nemovideo/client_id`",
    "SKILL_SOURCE": "told from where the skill is installed",
    "REELQ_DATABASE_URL": "SQLite: `reelq.db` in the data folder",
    "REELQ_BROKER_URL": "none",
    "REELQ_DATA_DIR": "your data folder; on Linux `~/.local/share/reelq`",
    "REELQ_SECRET_KEY": "with SQLite made once, kept in the data folder; with PostgreSQL it has to be given",
    "REELQ_KEEP_DAYS": "none",
    "REELQ_API_URL": "none",
    "REELQ_API_KEY": "none",
    "REELQ_ALLOWED_NETWORKS": "none",
    "REELQ_METRICS_ADDRESS": "none",
}
"""What holds where a default is no plain value."""


def settings_page() -> str:
    """The whole page on settings."""
    return "\n".join(
        [
            "# The environment",
            "",
            "Generated from `reelq/settings.py` by `make docs`; `make test` fails where the two differ.",
            "",
            "Every setting is an environment variable, read once when a command begins; an empty one is not set.",
            "Nothing has to be set. `reelq doctor` says what is set and wrong, `reelq doctor --all` explains every",
            "variable, with the value that holds here. Seconds take fractions.",
            "",
            *_groups(),
            "## Others that are heeded",
            "",
            "`NO_COLOR` takes the colours away. `FLOWER_ADDRESS`, `FLOWER_PORT` and `FLOWER_BASIC_AUTH` say where",
            "[Flower](flower.md) is, and who sees it.",
            "`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` lead to the service as they do elsewhere.",
            "`SSL_CERT_FILE` names the authorities that the service's certificate is checked against.",
            "",
        ]
    )


def _groups() -> Iterator[str]:
    left = list(DESCRIPTIONS)
    for title, begins in _GROUPS.items():
        yield from (f"## {title}", "", "| variable | default | what it is for |", "| --- | --- | --- |")
        for name in [name for name in left if name.startswith(begins)]:
            left.remove(name)
            yield f"| `{name}` | {_default(name)} | {DESCRIPTIONS[name]} |"
        yield ""


def _default(name: str) -> str:
    default = Settings.model_fields[name.lower()].default
    if name in _WITHOUT:
        return _WITHOUT[name]
    return f"`{int(default) if isinstance(default, bool) else default}`"


def states_page() -> str:
    """The whole page on states."""
    arrows = [f"  {before} --> {after}" for before, afters in TRANSITIONS.items() for after in sorted(afters)]
    return "\n".join(
        [
            "# The state machine",
            "",
            "Generated from `reelq/job.py` by `make docs`; `make test` fails where the two differ.",
            "",
            "A job's position is its stage and its status. Statuses are changed in `reelq/store/jobs/transitions.py`,",
            "and by the claim of a row that nothing holds off in `claims.py`: each compares, sets, and writes the",
            "event in the same transaction.",
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
    STATES.write_text(states_page(), encoding="utf-8")
    SETTINGS.write_text(settings_page(), encoding="utf-8")
