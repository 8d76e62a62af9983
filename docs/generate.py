"""Generates state-machine.md and settings.md from the code; a test checks that the files are up to date."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reelq.job import FINAL, PIPELINE, ROUTES, TRANSITIONS, Cause, Status
from reelq.settings import DESCRIPTIONS, Settings

STATES: Final = Path(__file__).with_name("state-machine.md")
SETTINGS: Final = Path(__file__).with_name("settings.md")

_MEANS: Final = {
    Status.QUEUED: "the stage is due, or will be at a set time",
    Status.RUNNING: "a worker runs the stage under a lease",
    Status.WAITING: "the job waits for something; the cause says what",
    Status.SUCCEEDED: "done",
    Status.FAILED: "ended with an error, which has a code and advice",
    Status.CANCELLED: "cancelled by a user, or because an earlier row of its session failed or was cancelled",
}
_CAUSES: Final = {
    Cause.CREDITS: "credits; the job continues by itself when the account has some",
    Cause.PLAN: "a plan that allows this; run `reelq resume` after an upgrade",
    Cause.TOKEN: "a valid token; run `reelq resume` after setting one, or wait up to seven days for a new free token",
    Cause.PAUSED: "the end of a pause, of `--first` or of a credit limit; run `reelq resume`",
    Cause.SESSION: "an earlier row that uses the same session",
    Cause.TWIN: "the same row in another batch, whose result it will use",
}


_GROUPS: Final = {
    "NemoVideo": ("NEMO_", "SKILL_", "REELQ_ANON"),
    "Database, broker and workers": (
        "REELQ_D",
        "REELQ_B",
        "REELQ_SECRET",
        "REELQ_KEEP",
        "REELQ_LOG",
        "REELQ_MET",
    ),
    "REST service and its clients": ("REELQ_API", "REELQ_ALLOWED"),
    "Limits and intervals": ("REELQ_",),
}
"""The groups by prefix. A variable belongs to the first group that matches."""
_WITHOUT: Final = {
    "NEMO_TOKEN": "none",
    "NEMO_CLIENT_ID": "generated once, stored in `~/.config/nemovideo/client_id`",
    "SKILL_SOURCE": "detected from where the skill is installed",
    "REELQ_DATABASE_URL": "SQLite: `reelq.db` in the data folder",
    "REELQ_BROKER_URL": "none",
    "REELQ_DATA_DIR": "your data folder; on Linux `~/.local/share/reelq`",
    "REELQ_SECRET_KEY": "SQLite: generated once, stored in the data folder; PostgreSQL: none, must be set",
    "REELQ_KEEP_DAYS": "none",
    "REELQ_API_URL": "none",
    "REELQ_API_KEY": "none",
    "REELQ_ALLOWED_NETWORKS": "none",
    "REELQ_METRICS_ADDRESS": "none",
}
"""Descriptions of defaults that are not plain values."""


def settings_page() -> str:
    """Return the text of settings.md."""
    return "\n".join(
        [
            "# Settings",
            "",
            "For everyone who configures reelq: every environment variable, its default, and what it does.",
            "",
            "You do not have to set any of them. reelq reads them once, when a command or process starts; an empty",
            "variable counts as not set. Durations are in seconds and can have fractions. `reelq doctor` reports",
            "invalid variables; `reelq doctor --all` explains every variable and shows its current value.",
            "",
            "This page is generated from `reelq/settings.py` by `make docs`; a test checks that it is up to date.",
            "",
            *_groups(),
            "## Other variables",
            "",
            "| variable | meaning |",
            "| --- | --- |",
            "| `NO_COLOR` | if set, output has no colours |",
            "| `FLOWER_ADDRESS`, `FLOWER_PORT`, `FLOWER_BASIC_AUTH` | address and password of [Flower](flower.md) |",
            "| `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` | the proxy for requests to the NemoVideo service |",
            "| `SSL_CERT_FILE` | certificate authorities for the service's certificate, instead of httpx's |",
            "",
        ]
    )


def _groups() -> Iterator[str]:
    left = list(DESCRIPTIONS)
    for title, begins in _GROUPS.items():
        yield from (f"## {title}", "", "| variable | default | meaning |", "| --- | --- | --- |")
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
    """Return the text of state-machine.md."""
    arrows = [f"  {before} --> {after}" for before, afters in TRANSITIONS.items() for after in sorted(afters)]
    return "\n".join(
        [
            "# The state machine",
            "",
            "For developers, and for users who want to know what a status means: every status of a job, what can",
            "follow it, what a job can wait for, and the stages of each route. A job is a row that was submitted.",
            "",
            "A job's state is its stage and its status. Only `reelq/store/jobs/transitions.py` changes a status, and",
            "`claims.py` when it claims a job that nothing holds back. Each change is a compare-and-set that writes",
            "its event in the same transaction.",
            "",
            "This page is generated from `reelq/job.py` by `make docs`; a test checks that it is up to date.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "  [*] --> queued",
            *arrows,
            "```",
            "",
            "| status | meaning | can change to |",
            "| --- | --- | --- |",
            *(
                f"| `{each}`{' (final)' if each in FINAL else ''} | {_MEANS[each]} | {_listed(each)} |"
                for each in Status
            ),
            "",
            "A job leaves a final status only when a user asks for it.",
            "",
            "| cause | the job waits for |",
            "| --- | --- |",
            *(f"| `{cause}` | {_CAUSES[cause]} |" for cause in Cause),
            "",
            "| route | stages |",
            "| --- | --- |",
            *(f"| `{route}` | {' → '.join(stages)} |" for route, stages in ROUTES.items()),
            "",
            f"All stages in order: {', '.join(f'`{stage}`' for stage in PIPELINE)}.",
            "",
        ]
    )


def _listed(status: Status) -> str:
    return ", ".join(f"`{after}`" for after in sorted(TRANSITIONS[status]))


if __name__ == "__main__":
    STATES.write_text(states_page(), encoding="utf-8")
    SETTINGS.write_text(settings_page(), encoding="utf-8")
