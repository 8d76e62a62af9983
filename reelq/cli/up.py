"""`reelq up`: the REST service, workers and Flower together on this machine, under one roof."""

import os
import socket
import sys

import click

from reelq.cli.deployment import Deployment, deployment
from reelq.cli.doctor.broker import unreachable
from reelq.cli.exits import FAILED, INTERRUPTED, OK
from reelq.cli.roof import Roof
from reelq.cli.wording import masked
from reelq.errors import SettingsError
from reelq.store import apikeys
from worker import visitors

_GET_REDIS = """\
Without one, `reelq run` does all the work in one process and needs nothing.
To get one:
  Debian, Ubuntu   sudo apt install redis-server
  macOS            brew install redis && brew services start redis
  Docker           docker run -d -p 6379:6379 redis
Then:              export REELQ_BROKER_URL=redis://127.0.0.1:6379/0"""


@click.command("up")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="How many worker processes.")
@click.option("--api/--no-api", "api", default=True, show_default=True, help="Serve the REST service.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where that listens; 0.0.0.0 lets other machines ask it."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Its port.")
@click.option("--flower/--no-flower", default=True, show_default=True, help="Show the workers in a browser.")
@click.option(
    "--flower-port", envvar="FLOWER_PORT", default=5555, show_default=True, type=click.IntRange(1, 65535),
    help="Flower's port.",
)  # fmt: skip
def command(workers: int, api: bool, host: str, port: int, flower: bool, flower_port: int) -> None:
    """Run the REST service, workers and Flower together on this machine, until Ctrl-C.

    The first Ctrl-C lets the workers end what they have begun (REELQ_STOP_GRACE seconds at most), the second does not.
    Nothing is lost either way.

    The REST service asks for a key (`reelq keys create`) and speaks plain HTTP: where others reach it, put something
    before it that speaks https. Flower can be reached from this machine alone; FLOWER_ADDRESS=0.0.0.0 lets others in,
    who are asked for the password that FLOWER_BASIC_AUTH=NAME:PASSWORD then has to set.

    \b
    Example: REELQ_BROKER_URL=redis://127.0.0.1:6379/0 reelq up --workers 2
    Exit code: 0 when stopped, 1 if a process ended by itself, 2 without a Redis,
    130 if stopped at once.
    """
    with deployment() as made:
        _check(made)
        keyless = all(key.revoked_at for key in apikeys.all_keys(made.store))
    if api:
        _check_port("The REST service", host, port, "--host and --port name another place; --no-api does without it.")
    if flower:
        _check_flower(flower_port)
    # For JSON the lines stay as they are: a name before them would make them none.
    roof = Roof(prefixed=made.settings.reelq_log_format == "console")
    for number in range(1, workers + 1):
        words = ["--loglevel=INFO", f"--hostname=worker{number}.{os.getpid()}@%h"]
        roof.start(f"worker {number}", ["worker", str(number), *words])
    if api:
        _start_api(roof, host, port, keyless=keyless)
    if flower:
        _start_flower(roof, flower_port)
    click.echo("reelq: up; Ctrl-C stops", err=True)
    wished = roof.run()
    click.echo("reelq: all stopped; nothing is lost", err=True)
    sys.exit((INTERRUPTED if roof.hurried else OK) if wished else FAILED)


def _check(made: Deployment) -> None:
    """All that would end the processes as soon as they begin, told before they do."""
    if made.settings.reelq_broker_url is None:
        refused = SettingsError("REELQ_BROKER_URL is not set, and workers are sent their rows through a Redis")
        refused.advice = _GET_REDIS
        raise refused
    url = made.settings.reelq_broker_url.get_secret_value()
    if why := unreachable(url):
        refused = SettingsError(f"REELQ_BROKER_URL: {masked(url)} can't be used: {why}")
        refused.advice = _GET_REDIS
        raise refused
    _ = made.vault  # refused here, if at all


def _check_flower(port: int) -> None:
    if fault := visitors.refusal(os.environ):
        refused = SettingsError(f"Flower: {fault}")
        refused.advice = f"{visitors.MEND}. --no-flower does without it."
        raise refused
    if not os.environ.get("FLOWER_UNIX_SOCKET"):
        advice = "--flower-port names another port; --no-flower does without it."
        _check_port("Flower", visitors.address(os.environ), port, advice)


def _check_port(who: str, host: str, port: int, advice: str) -> None:
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except OSError as error:
        raise click.UsageError(f"{who} can't listen at {host}:{port}: {error.strerror}. {advice}") from None


def _start_api(roof: Roof, host: str, port: int, *, keyless: bool) -> None:
    roof.start("api", ["api", host, str(port)])
    at = f"http://{_shown(host)}:{port}"
    click.echo(f"reelq: REST service at {at}, its description at {at}/docs", err=True)
    if keyless:
        click.echo("reelq: nobody has a key to it yet: `reelq keys create --owner NAME` makes one", err=True)


def _start_flower(roof: Roof, port: int) -> None:
    roof.start("flower", ["flower", f"--port={port}"], last=True)
    host = visitors.address(os.environ)
    who = " (this machine alone; `FLOWER_ADDRESS` lets others in)" if visitors.is_here(host) else ""
    click.echo(f"reelq: Flower at http://{_shown(host)}:{port}{who}", err=True)


def _shown(host: str) -> str:
    """As it stands in an address that a person on this machine can open."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
