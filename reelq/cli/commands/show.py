"""`reelq show`: everything that is known about one row, from its request to what to do next."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from reelq.cli.targets import open_local, resolve_job, sandbox_option
from reelq.cli.views.report import shown_path
from reelq.cli.views.text import aligned, format_duration, plural, print_json, safe_line, safe_lines, title
from reelq.job import ROUTES, Status
from reelq.manifest.columns import COLUMNS
from reelq.store.db.models import Job, Outcome, Send
from reelq.store.queries.rows import RowHistory, row_history

_OUTCOMES: Final = {
    Outcome.OPEN: "not known yet",
    Outcome.APPLIED: "applied",
    Outcome.NO_EFFECT: "no effect",
    Outcome.AGENT_ERROR: "the agent failed",
    Outcome.NOT_SENT: "not sent",
    Outcome.REFUSED: "refused",
    Outcome.UNCONFIRMED: "not confirmed",
}
_SEND_FIELDS: Final = ("number", "text", "why", "reply", "agent_error", "outcome", "cost", "shared")


@click.command("show")
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@sandbox_option
def command(job: str, as_json: bool, sandbox: bool) -> None:
    """Show the history of JOB: its stages, messages, cost, and what to do if it stopped.

    JOB is a row's id, or BATCH:ROW with the row's number or your own id for it.

    \b
    Example: reelq show last:3
    """
    with open_local(resolve_job, job, sandbox=sandbox) as (local, resolved), local.store.read() as session:
        found, now = row_history(session, resolved.job_id), local.store.now(session)
    if as_json:
        print_json(_as_data(found))
        return
    for line in _render(found, now):
        click.echo(line)


def _render(found: RowHistory, now: datetime) -> Iterator[str]:
    job = found.job
    yield click.style(title(job.row, job.name, job.file or job.instruction), bold=True)
    yield from aligned([(name, safe_line(text)) for name, text in _fields(found, now) if text])
    if found.events:
        yield from _section("Stages", aligned(list(_stages(found, now)), right=(2,)))
        events = [(_format_time(each.at), str(each.stage), safe_line(each.words)) for each in found.events]
        yield from _section("What happened", aligned(events))
    if found.sends:
        yield from _section("What was sent", (f"  {line}" for send in found.sends for line in _send(send)))
    texts = {"Changes": "\n".join(job.changes), "Timeline": job.timeline}
    texts |= {"The agent says": job.reply, "The service's answer": job.raw}
    for name, text in texts.items():
        if text:
            yield from _section(name, (f"  {line}" for line in safe_lines(text)))


def _section(name: str, body: Iterable[str]) -> Iterator[str]:
    yield ""
    yield click.style(name, bold=True)
    yield from body


def _fields(found: RowHistory, now: datetime) -> Iterator[tuple[str, str]]:
    job, batch = found.job, found.batch
    cost = sum(send.cost for send in found.sends)
    shared = any(send.shared and send.cost for send in found.sends)
    yield "job", f"{job.id}, row {job.row} of {batch.name} ({batch.id})"
    yield "instruction", job.instruction
    yield "files", ", ".join(filter(None, (job.file, *job.references)))
    yield "as", f"{job.route} with skill {job.skill}, language {job.language}"
    before = f"after row {found.before.row}" if found.before else ""
    same = f"the same as row {found.same_as.row} of {found.same_as.batch_id}" if found.same_as else ""
    yield "session", ", ".join(filter(None, (job.session, before, same, job.remote_session_id)))
    yield "status", _status(job, now)
    yield "error", f"{job.error_code}: {job.error}" if job.error_code else ""
    yield "waits", found.events[-1].words if job.status is Status.WAITING and found.events else ""
    yield "advice", job.advice
    yield "credits", f"about {cost:,}, its share of a joint cost" if shared else f"{cost:,}"
    yield "result", _result(found)
    yield "link", job.result_url if not job.result_path else ""


def _status(job: Job, now: datetime) -> str:
    seconds = ((job.finished_at or now) - job.started_at).total_seconds() if job.started_at else None
    duration = "" if seconds is None else f", {format_duration(seconds)}"
    cause = f" ({job.cause})" if job.cause else ""
    place = "" if job.status is Status.SUCCEEDED else f" in {job.stage}"
    wait = (job.due_at - now).total_seconds() if job.status is Status.QUEUED else 0
    return f"{job.status}{cause}{place}{duration}{f', due in {wait:.0f} s' if wait > 0 else ''}"


def _result(found: RowHistory) -> str:
    job = found.job
    if not job.result_path:
        return ""
    path = Path(found.batch.out) / job.result_path
    missing = "" if path.exists() else ", missing: run the manifest again to download it for free"
    return f"{shown_path(path)} ({(job.result_size or 0) / 1_000_000:.1f} MB){missing}"


def _stages(found: RowHistory, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Each stage that has started: when, how long it took, how often it started."""
    for stage in ROUTES[found.job.route]:
        events = [event for event in found.events if event.stage is stage]
        starts = [event.at for event in events if event.after == Status.RUNNING != event.before]
        if starts:
            is_current = stage is found.job.stage and found.job.status in {Status.QUEUED, Status.RUNNING}
            duration = format_duration(((now if is_current else events[-1].at) - starts[0]).total_seconds())
            repeats = f"{len(starts)} times" if len(starts) > 1 else ""
            yield f"{stage}", f"{starts[0].astimezone():%H:%M:%S}", f"{duration}  {repeats}".rstrip()


def _send(send: Send) -> Iterator[str]:
    cost = f"{'about ' if send.shared else ''}{plural(send.cost, 'credit')}"
    yield f"{_format_time(send.sent_at)}  {send.why}: {_OUTCOMES[send.outcome]}, {cost}"
    yield f"  {safe_line(send.text)}"
    for line in safe_lines(send.reply or send.agent_error):
        yield f"  > {line}"


def _format_time(at: datetime) -> str:
    return f"{at.astimezone():%d %b %H:%M:%S}"


def _as_data(found: RowHistory) -> dict[str, Any]:
    job = found.job
    request = (*(column for column in COLUMNS if column != "id"), "extra")
    result = ("timeline", "changes", "reply", "error_code", "error", "advice", "raw", "result_path", "result_size")
    times = ("created_at", "started_at", "finished_at", "due_at")
    remote = ("remote_session_id", "remote_task_id", "remote_render_id", "result_url")
    return {
        "job": job.id, "batch": job.batch_id, "row": job.row, "id": job.name, "route": job.route, "stage": job.stage,
        "status": job.status, "cause": job.cause, "run": job.run, "credits": sum(send.cost for send in found.sends),
        **{name: getattr(job, name) for name in (*request, *result, *remote)},
        **{name: _iso(getattr(job, name)) for name in times},
        "sends": [
            {**{name: getattr(send, name) for name in _SEND_FIELDS}, "sent_at": _iso(send.sent_at)}
            for send in found.sends
        ],
        "events": [
            {"event": each.what, "at": _iso(each.at), "run": each.run, "stage": each.stage, "before": each.before,
             "status": each.after, "words": each.words}
            for each in found.events
        ],
    }  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
