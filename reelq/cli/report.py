"""What a batch came to, for people and for programs: failures by cause, what waits and for whom, and the way on."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from reelq.cli.exits import FAILED, OK, WAITS
from reelq.cli.lines import put_json, so_far
from reelq.cli.queue import Queue
from reelq.cli.wording import aligned, many, one_line, row_list
from reelq.job import Cause, Status
from reelq.store.models import BatchState
from reelq.store.outcomes import Group
from reelq.store.overview import FOR_THE_USER, Place, Snapshot

_ADVICE: Final = {
    Cause.CREDITS: "Register or top up: the rows go on by themselves once there are credits, or by `{resume}`.",
    Cause.PLAN: "Register or upgrade the plan, then `{resume}`; finished edits are kept.",
    Cause.TOKEN: "Set a valid NEMO_TOKEN, or wait until seven days after the last free one; then `{resume}`.",
    Cause.SESSION: "They go on when the row before them in their session is done.",
    Cause.TWIN: "The same rows are under way in another batch; their results are taken from there.",
}


def report(
    queue: Queue,
    batch_id: str,
    *,
    as_json: bool = False,
    by_stage: bool = False,
    results: Path | None = None,
) -> int:
    """Print how a batch stands on stdout, and give the exit code that it stands for.

    `results` is where the videos and the list of them are: given by a command that has done the work itself.
    """
    stand = queue.stand(batch_id)
    seen, failed, waiting = stand.seen, stand.failed, stand.waiting
    if as_json:
        put_json(sum_up(seen, failed, waiting, results))
        return code_of(seen)
    click.echo(f"{one_line(seen.name)} ({batch_id}): {so_far(seen)}.")
    if not seen.total:
        click.echo("The manifest was handed in again, and its rows are in a newer batch: `reelq status` lists it.")
    if by_stage:
        places = [(str(one.stage), _status(one), f"{one.count:,}") for one in seen.places]
        click.echo("\n".join(aligned(places, right=(2,))))
    for line in (*_failures(seen, failed), *_waits(seen, waiting), *_on_from_here(seen, failed)):
        click.echo(line)
    if seen.moving and not seen.tended and queue.in_process and not results:
        click.echo(f"\nNobody works on this batch: {queue.way_on(seen)}.")
    if results:
        click.echo(f"Results: {one_line(shown_path(results))}")
    return code_of(seen)


def _status(place: Place) -> str:
    return f"{place.status} ({place.cause})" if place.cause else str(place.status)


def code_of(seen: Snapshot) -> int:
    """0 where all rows succeeded; 3 where some have not ended, else 1."""
    if seen.unfinished:
        return WAITS
    return OK if seen.count(Status.SUCCEEDED) == seen.total else FAILED


def _failures(seen: Snapshot, groups: list[Group]) -> Iterator[str]:
    for group in groups:
        ended = "ended because of another row" if group.code == "predecessor" else "failed"
        code = click.style(group.code, fg="red", bold=True)
        yield f"\n{many(group.count, 'row')} {ended}: {code} ({row_list(group.rows, group.count)})"
        # The words are those of the first; the others' may name other files.
        yield from _indented(group.words, group.advice)
    if cancelled := seen.count(Status.CANCELLED) - sum(one.count for one in groups if one.code == "predecessor"):
        yield f"\n{many(cancelled, 'row')} cancelled"


def _waits(seen: Snapshot, groups: list[Group]) -> Iterator[str]:
    for group in groups:
        cause = Cause(group.code)
        whom = click.style(group.code, fg="yellow", bold=cause in FOR_THE_USER)
        verb = "waits" if group.count == 1 else "wait"
        yield f"\n{many(group.count, 'row')} {verb}: {whom} ({row_list(group.rows, group.count)})"
        yield from _indented(*_why(seen, cause))
    if seen.held:
        yield f"\n{many(seen.held, 'row')} held back until you have looked at the first {_first(seen)}"
        yield from _indented(f"`{_resume(seen)}` lets them go on.")
    queued = seen.count(Status.QUEUED) - seen.held
    if queued and seen.state is BatchState.PAUSED:
        yield f"\n{many(queued, 'row')} held by a pause"
        yield from _indented(f"`{_resume(seen)}` lets them go on.")


def _why(seen: Snapshot, cause: Cause) -> tuple[str, str]:
    """Why rows wait, and what to do."""
    if cause is not Cause.PAUSED:
        told = next((hold.why for hold in seen.holds if hold.cause is cause), "")
        return told, _ADVICE[cause].format(resume=_resume(seen))
    if seen.limit_credits is not None and seen.state is BatchState.ACTIVE:
        told = (
            f"The batch may spend {many(seen.limit_credits, 'credit')}; what is left of them is too little for a row."
        )
        return told, f"`{_resume(seen)}` lifts the limit."
    return "", f"`{_resume(seen)}` lets them go on."


def _on_from_here(seen: Snapshot, failed: list[Group]) -> Iterator[str]:
    if failed:
        first = failed[0].rows[0]
        yield f"\n`reelq show {seen.batch_id}:{first}` tells the story of row {first};"
        yield f"`reelq retry {seen.batch_id}` tries again what failed."


def _indented(*texts: str) -> Iterator[str]:
    return (f"  {one_line(text)}" for text in texts if text)


def _resume(seen: Snapshot) -> str:
    return f"reelq resume {seen.batch_id}"


def shown_path(path: Path) -> str:
    """A path as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def sum_up(seen: Snapshot, failed: list[Group], waiting: list[Group], results: Path | None = None) -> dict[str, Any]:
    """The batch as one object."""
    counts = {str(status): seen.count(status) for status in Status}
    places = [
        {"stage": str(one.stage), "status": str(one.status), "cause": one.cause and str(one.cause), "rows": one.count}
        for one in seen.places
    ]
    return {
        "event": "summary", "batch": seen.batch_id, "name": seen.name, "state": str(seen.state),
        "created_at": seen.created_at.isoformat(), "total": seen.total, **counts, "held": seen.held,
        "released": seen.released, "limit_credits": seen.limit_credits, "credits": seen.credits,
        "shared": seen.shared, "at_rest": seen.at_rest, "out": str(results or seen.out), "places": places,
        "failures": [asdict(one) for one in failed], "waits": [asdict(one) for one in waiting],
    }  # fmt: skip


def next_step(queue: Queue, batch_id: str) -> str:
    """What the user does, if anything, for queued rows to be worked on."""
    seen = queue.stand(batch_id).seen
    if seen.state is BatchState.PAUSED:
        return f"The batch is paused: `{_resume(seen)}` lets it go on."
    words = queue.way_on(seen)
    return f"{words[0].upper()}{words[1:]}."


def _first(seen: Snapshot) -> str:
    return "row" if seen.released == 1 else f"{seen.released:,} rows"
