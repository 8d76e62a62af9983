"""Reports on a batch: failures by cause, what rows wait for, and the next step."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from reelq.cli.backends.base import Queue
from reelq.cli.errors import FAILED, OK, WAITING
from reelq.cli.views.text import aligned, plural, print_json, progress_line, row_list, safe_line
from reelq.job import USER_CAUSES, Cause, Status
from reelq.store.db.models import BatchState
from reelq.store.queries.batch_status import Snapshot

_ADVICE: Final = {
    Cause.CREDITS: "Register or top up: the rows continue once there are credits, or at once with `{resume}`.",
    Cause.PLAN: "Register or upgrade the plan, then run `{resume}`; finished edits are kept.",
    Cause.TOKEN: "Set a valid NEMO_TOKEN, or wait until the last free token is seven days old; then run `{resume}`.",
    Cause.SESSION: "They start when the previous row of their session is done.",
    Cause.TWIN: "The same rows are in progress in another batch; their results will be reused.",
}


def report(
    queue: Queue, batch_id: str, *, as_json: bool = False, by_stage: bool = False, results: Path | None = None
) -> int:
    """Print the state of a batch on stdout, and return the exit code for it.

    `results` is the folder of the videos and their list. A command passes it if it has done the work itself.
    """
    batch = queue.state(batch_id)
    if as_json:
        print_json(summary_data(batch, results))
        return exit_code(batch)
    click.echo(f"{safe_line(batch.name)} ({batch_id}): {progress_line(batch)}.")
    if not batch.total:
        click.echo("The manifest was submitted again, and its rows moved to a newer batch: see `reelq status`.")
    if by_stage:
        places = ((place, f" ({place.cause})" if place.cause else "") for place in batch.places)
        cells = [(str(place.stage), f"{place.status}{cause}", f"{place.count:,}") for place, cause in places]
        click.echo("\n".join(aligned(cells, right=(2,))))
    for line in (*_failures(batch), *_waits(batch)):
        click.echo(line)
    if batch.failures:
        row = batch.failures[0].rows[0]
        click.echo(f"\n`reelq show {batch_id}:{row}` shows the history of row {row};")
        click.echo(f"`reelq retry {batch_id}` retries the failed rows.")
    if batch.moving_count and not batch.tended and queue.in_process and not results:
        click.echo(f"\nNo process is running this batch: {queue.who_continues(batch)}.")
    if results:
        click.echo(f"Results: {safe_line(shown_path(results))}")
    return exit_code(batch)


def exit_code(batch: Snapshot) -> int:
    """The exit code: 0 if all rows succeeded, 3 if some have not ended, else 1."""
    if batch.unfinished:
        return WAITING
    return OK if batch.count(Status.SUCCEEDED) == batch.total else FAILED


def _failures(batch: Snapshot) -> Iterator[str]:
    for group in batch.failures:
        verb = "ended because of another row" if group.code == "predecessor" else "failed"
        code = click.style(group.code, fg="red", bold=True)
        yield f"\n{plural(group.count, 'row')} {verb}: {code} ({row_list(group.rows, group.count)})"
        # The message is that of the first row; those of the others may name other files.
        yield from _indented(group.words, group.advice)
    by_predecessor = sum(group.count for group in batch.failures if group.code == "predecessor")
    if cancelled := batch.count(Status.CANCELLED) - by_predecessor:
        yield f"\n{plural(cancelled, 'row')} cancelled"


def _waits(batch: Snapshot) -> Iterator[str]:
    for group in batch.waits:
        cause = Cause(group.code)
        cause_label = click.style(group.code, fg="yellow", bold=cause in USER_CAUSES)
        verb = "waits" if group.count == 1 else "wait"
        yield f"\n{plural(group.count, 'row')} {verb}: {cause_label} ({row_list(group.rows, group.count)})"
        yield from _indented(*_why(batch, cause))
    if batch.held:
        first = "row" if batch.released == 1 else f"{batch.released:,} rows"
        yield f"\n{plural(batch.held, 'row')} held back until you have checked the first {first}"
        yield from _indented(f"Release them with `{_resume_command(batch)}`.")
    queued = batch.count(Status.QUEUED) - batch.held
    if queued and batch.state is BatchState.PAUSED:
        yield f"\n{plural(queued, 'row')} held by a pause"
        yield from _indented(f"Continue with `{_resume_command(batch)}`.")


def _why(batch: Snapshot, cause: Cause) -> tuple[str, str]:
    """Why rows wait, and what to do about it."""
    if cause is not Cause.PAUSED:
        reason = next((hold.why for hold in batch.holds if hold.cause is cause), "")
        return reason, _ADVICE[cause].format(resume=_resume_command(batch))
    if batch.limit_credits is not None and batch.state is BatchState.ACTIVE:
        limit = plural(batch.limit_credits, "credit")
        reason = f"The batch's limit is {limit}; what remains is too little for another row."
        return reason, f"`{_resume_command(batch)}` lifts the limit."
    return "", f"Continue with `{_resume_command(batch)}`."


def _indented(*texts: str) -> Iterator[str]:
    return (f"  {safe_line(text)}" for text in texts if text)


def _resume_command(batch: Snapshot) -> str:
    return f"reelq resume {batch.id}"


def shown_path(path: Path) -> str:
    """The shortest form of a path that works in the current directory."""
    current = Path.cwd()
    return str(path.relative_to(current)) if path.is_relative_to(current) else str(path)


def summary_data(batch: Snapshot, results: Path | None = None) -> dict[str, Any]:
    """The summary of a batch as a JSON object."""
    places = [
        {"stage": each.stage, "status": each.status, "cause": each.cause, "rows": each.count} for each in batch.places
    ]
    return {
        "event": "summary", "batch": batch.id, "name": batch.name, "state": str(batch.state),
        "created_at": batch.created_at.isoformat(), "total": batch.total, **batch.counts, "held": batch.held,
        "released": batch.released, "limit_credits": batch.limit_credits, "credits": batch.credits,
        "shared": batch.shared, "at_rest": batch.at_rest, "out": str(results or batch.out), "places": places,
        "failures": [asdict(item) for item in batch.failures], "waits": [asdict(item) for item in batch.waits],
    }  # fmt: skip


def next_step(queue: Queue, batch_id: str) -> str:
    """What happens next to queued rows, or what the user has to do for them."""
    batch = queue.state(batch_id)
    if batch.state is BatchState.PAUSED:
        return f"The batch is paused. Continue with `{_resume_command(batch)}`."
    phrase = queue.who_continues(batch)
    return f"{phrase[0].upper()}{phrase[1:]}."
