"""Runs the processes of `reelq up`: the supervisor that starts and stops them, and the entry point of each of them."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, Final

import click

_COLOURS: Final = ("cyan", "magenta", "green", "blue", "yellow")
_POLL_SECONDS: Final = 0.1
_KILL_AFTER_SECONDS: Final = 5.0
"""How long a process may take after the second signal before it is killed."""


class Child:
    """A process in a session of its own: Ctrl-C in the terminal reaches only the supervisor, which passes it on."""

    def __init__(self, name: str, args: Sequence[str], *, last: bool) -> None:
        self.name = name
        self.last = last
        # -P: don't import modules from the current folder in place of ours.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout is not None  # noqa: S101 - stdout is a pipe, see above
        return self._process.stdout

    @property
    def exit_code(self) -> int | None:
        """None while the process runs."""
        return self._process.poll()

    def request_stop(self) -> None:
        """Send SIGTERM: the first lets the process finish what it has started, the second stops it at once."""
        self._process.send_signal(signal.SIGTERM)  # does nothing if it has exited

    def kill(self) -> None:
        """Kill the process if it still runs, and wait for it."""
        self._process.kill()
        self._process.wait()


class Supervisor:
    """Runs processes until told to stop, or until one of them exits by itself."""

    def __init__(self, *, prefixed: bool) -> None:
        self._prefixed = prefixed
        # Decided here: the printing threads have no click context, which would know about NO_COLOR.
        self._colour = False if os.environ.get("NO_COLOR") else None
        self._children: list[Child] = []
        self._printers: list[threading.Thread] = []
        self._stop_requests = 0
        self._print_lock = threading.Lock()

    def start(self, name: str, args: Sequence[str], *, last: bool = False) -> None:
        """Start a process. `last` marks one that watches the others: it is stopped after they have ended."""
        child = Child(name, args, last=last)
        self._children.append(child)
        colour = _COLOURS[(len(self._children) - 1) % len(_COLOURS)]
        printer = threading.Thread(target=self._print, args=(child, colour), daemon=True)
        self._printers.append(printer)
        printer.start()

    def run(self) -> bool:
        """Wait for the end and stop all processes. Returns False if one exited before a stop was requested."""
        previous = {number: signal.signal(number, self._request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            exited: list[Child] = []
            while not self._stop_requests and not exited:
                time.sleep(_POLL_SECONDS)
                exited = [child for child in self._children if child.exit_code is not None]
            stop_requested = bool(self._stop_requests)
            if not stop_requested:
                first = exited[0]
                _print_status(f"{first.name} exited with code {first.exit_code}; stopping the rest", is_error=True)
            for last in (False, True):
                self._stop([child for child in self._children if child.last is last and child.exit_code is None])
            return stop_requested
        finally:
            for child in self._children:
                child.kill()
            for printer in self._printers:
                printer.join(1)
            for number, handler in previous.items():
                signal.signal(number, handler)

    @property
    def hurried(self) -> bool:
        """Whether a stop was requested a second time."""
        return self._stop_requests > 1

    def _request_stop(self, *_: object) -> None:
        self._stop_requests += 1

    def _stop(self, children: Sequence[Child]) -> None:
        names = ", ".join(child.name for child in children)
        if names and not self.hurried:
            _print_status(f"stopping {names}; press Ctrl-C again to stop at once")
        for child in children:
            child.request_stop()
        while any(child.exit_code is None for child in children) and not self.hurried:
            time.sleep(_POLL_SECONDS)
        for child in children:
            child.request_stop()
        deadline = time.monotonic() + _KILL_AFTER_SECONDS
        while any(child.exit_code is None for child in children) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        for child in children:
            child.kill()

    def _print(self, child: Child, colour: str) -> None:
        for raw in child.output:
            line = raw.decode("utf-8", "replace").rstrip()
            text = self._format(child.name, line, colour) if line else ""
            try:
                with self._print_lock:
                    click.echo(text, nl=bool(line), color=self._colour)
            except OSError:  # nobody reads our output any more: stop, but keep reading so that the child is not blocked
                self._stop_requests = max(self._stop_requests, 1)

    def _format(self, name: str, line: str, colour: str) -> str:
        if self._prefixed:
            return click.style(f"{name:9}│ ", fg=colour) + line
        # Celery prints some lines outside of its log; a reader of JSON should get nothing but JSON.
        return line if line.startswith("{") else json.dumps({"logger": name, "message": line}, ensure_ascii=False)


def _print_status(message: str, *, is_error: bool = False) -> None:
    click.secho(f"reelq: {message}", err=True, fg="red" if is_error else None)


def _run_child(name: str, args: list[str]) -> None:
    """Run a process of `reelq up`: api, worker or flower."""
    threading.Thread(target=_terminate_on_stdin_eof, name="reelq end", daemon=True).start()
    if name == "api":
        host, port = args
        _serve(host, int(port))
        return
    if name == "worker":
        number, *args = args
        _set_metrics_port(int(number))
    from worker.celery import app

    if name == "worker":
        app.worker_main(["--quiet", name, *args])
    else:
        app.start(["--quiet", name, *args])


def _set_metrics_port(number: int) -> None:
    """Give each worker a metrics port of its own, counting up from the configured one."""
    from reelq.settings import Settings

    if address := Settings.read().metrics_place:
        host, port = address
        os.environ["REELQ_METRICS_ADDRESS"] = f"[{host}]:{port + number - 1}"


def _serve(host: str, port: int) -> None:
    import uvicorn

    from reelq import logs
    from reelq.settings import Settings

    settings = Settings.read()
    logs.set_up(settings.reelq_log_format)
    # Clients that watch a batch poll once a second: access lines would drown the rest of the log.
    config = uvicorn.Config(
        "api.app:app", host=host, port=port, timeout_graceful_shutdown=math.ceil(settings.reelq_stop_grace),
        log_config=None, access_log=False, server_header=False, ws="none",
    )  # fmt: skip
    uvicorn.Server(config).run()


def _terminate_on_stdin_eof() -> None:
    """Terminate when the supervisor is gone. It holds the other end of stdin, which closes even if it is killed."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _run_child(sys.argv[1], sys.argv[2:])
