"""Takes the example manifest through the sandbox by hand: the client's calls in their order, one row after another.

It is the shortest way to see what the client does. It keeps nothing and tries nothing twice.
"""

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from reelq import manifest, skills
from reelq.errors import ReelqError
from reelq.job import ROUTES, Stage
from reelq.remote import draft, phrases
from reelq.remote.auth import FreeTokens
from reelq.remote.client import Remote, ask_for_token, open_http
from reelq.remote.receipts import RenderStatus, Session
from reelq.remote.sse import Patience
from reelq.settings import Settings

HERE = Path(__file__).parent.parent
MANIFEST = HERE / "jobs.example.csv"
RESULTS = HERE / "reelq-out" / MANIFEST.stem
LOOK_AGAIN = 0.5

say = Console(highlight=False)


def tell(words: str) -> None:
    """Say it below the row's heading: on a terminal indented down to the last line, elsewhere in one line."""
    if say.is_terminal:
        say.print(Padding(words, (0, 0, 0, 3), expand=False))
    else:
        say.print(f"   {words}", soft_wrap=True)


@contextmanager
def sandbox() -> Iterator[str]:
    """The stand-in service, for as long as it is needed; its address."""
    options = ["--port", "0", "--speed", "40", "--credits", "1000", "--end-with-stdin"]
    command, pipe = [sys.executable, "-m", "sandbox", *options], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            if not (ready := process.stdout.readline()):
                raise SystemExit("The sandbox did not start.")
            yield ready.split()[-1]
        finally:
            process.terminate()


class Walk:
    """All rows with one account; rows of a session share its remote session."""

    def __init__(self, http: httpx.Client, known: skills.Skills) -> None:
        self._http = http
        self._known = known
        plain = skills.headers(known[manifest.DEFAULT_SKILL], "unknown")
        self._tokens = FreeTokens(lambda: ask_for_token(http, str(uuid.uuid4()), plain))
        self._sessions: dict[str, Session] = {}

    def remote(self, skill: str) -> Remote:
        """The service as this skill's face sees it."""
        return Remote(self._http, self._tokens, skills.headers(self._known[skill], "unknown"))

    def row(self, row: manifest.Row) -> None:
        """The six stages of one row, those that its route has."""
        remote = self.remote(row.skill)
        say.print(f"\n[bold]{row.number}. {row.id}[/bold]  {row.file or '—'}  [dim]{row.skill}[/dim]")
        tell(escape(row.instruction))
        session = self._upload(remote, row)
        if Stage.EDIT in ROUTES[row.route]:
            self._edit(remote, session, row.instruction)
        self._export(remote, session, RESULTS / row.output)

    def _upload(self, remote: Remote, row: manifest.Row) -> Session:
        session = self._sessions.get(row.session) or remote.open_session(row.language)
        if row.session:
            self._sessions[row.session] = session
        files = [MANIFEST.parent / name for name in (row.file, *row.references) if name]
        if files:
            remote.upload(session.session_id, files)
            tell(f"[dim]uploaded {', '.join(file.name for file in files)}[/dim]")
        return session

    def _edit(self, remote: Remote, session: Session, instruction: str) -> None:
        before, had = remote.state(session.session_id).draft, remote.balance()
        heard = remote.send(session.session_id, instruction, Patience(life=900, silence=600))
        after, has = remote.state(session.session_id).draft, remote.balance()
        for change in draft.changes(before, after) or ("nothing changed",):
            tell(escape(change))
        if kept := phrases.read(heard.reply).kept:
            tell(f"[italic]{escape(kept)}[/italic]")
        tell(f"[dim]{escape(draft.timeline(after))} · {had.available - has.available} credits[/dim]")

    def _export(self, remote: Remote, session: Session, output: Path) -> None:
        render_id = f"render_{uuid.uuid4().hex}"
        remote.render(render_id, session.session_id, remote.state(session.session_id).draft or {})
        while (look := remote.progress(render_id)).status is not RenderStatus.DONE:
            if look.status is RenderStatus.FAILED:
                raise SystemExit(f"The render failed: {look.reason}")
            time.sleep(LOOK_AGAIN)
        output.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own for what is not whole yet: the demo may run twice at once, or be stopped.
        with tempfile.TemporaryDirectory(prefix=".", dir=output.parent) as unfinished:
            part = Path(unfinished, f"{output.name}.part")
            done = remote.download(look.url, render_id, part)
            part.replace(output)
        tell(f"[green]{output.relative_to(HERE)}[/green]  {done.size / 1000:,.0f} kB")


def main() -> None:
    """Start a sandbox, walk every row, say where the videos are."""
    known = skills.load()
    rows = manifest.check_file(MANIFEST, skills=known).rows_or_raise()
    with sandbox() as address, open_http(Settings(nemo_api_url=address)) as http:
        walk = Walk(http, known)
        for row in rows:
            walk.row(row)
    say.print(f"\n[bold green]{len(rows)} videos[/bold green] in {RESULTS.relative_to(HERE)}/")


if __name__ == "__main__":
    try:
        main()
    except (ReelqError, OSError) as error:
        sys.exit(f"reelq: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
