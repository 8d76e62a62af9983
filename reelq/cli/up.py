"""`reelq up`: workers and Flower together on this machine, under one roof."""

import os
import sys
from importlib.util import find_spec

import click

from reelq.cli.deployment import Deployment, deployment
from reelq.cli.doctor.broker import has_password, unreachable
from reelq.cli.doctor.variables import masked
from reelq.cli.exits import FAILED, INTERRUPTED, OK
from reelq.cli.roof import Roof
from reelq.errors import SettingsError

_GET_REDIS = """\
Without one, `reelq run` does all the work in one process and needs nothing.
To get one:
  Debian, Ubuntu   sudo apt install redis-server
  macOS            brew install redis && brew services start redis
  Docker           docker run -d -p 6379:6379 redis
Then:              export REELQ_BROKER_URL=redis://127.0.0.1:6379/0"""


@click.command("up")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="How many worker processes.")
@click.option("--flower/--no-flower", default=True, show_default=True, help="Show the workers in a browser.")
@click.option("--flower-port", default=5555, show_default=True, type=click.IntRange(1, 65535), help="Flower's port.")
def command(workers: int, flower: bool, flower_port: int) -> None:
    """Run workers and Flower together on this machine, until Ctrl-C.

    The first Ctrl-C lets the workers end what they have begun (REELQ_STOP_GRACE seconds at most), the second does not.
    Nothing is lost either way. Flower asks for a password if FLOWER_BASIC_AUTH=NAME:PASSWORD is set; if not, it can be
    reached from this machine alone.

    \b
    Example: REELQ_BROKER_URL=redis://127.0.0.1:6379/0 reelq up --workers 2
    Exit code: 0 when stopped, 1 if a process ended by itself, 2 without a Redis,
    130 if stopped at once.
    """
    with deployment() as made:
        _check(made)
    # For JSON the lines stay as they are: a name before them would make them none.
    roof = Roof(prefixed=made.settings.reelq_log_format == "console")
    for number in range(1, workers + 1):
        roof.start(f"worker {number}", ["worker", "--loglevel=INFO", f"--hostname=worker{number}.{os.getpid()}@%h"])
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


def _start_flower(roof: Roof, port: int) -> None:
    if find_spec("flower") is None:
        click.echo("reelq: Flower is not installed; pip install 'reelq[flower]' to watch the workers", err=True)
        return
    guarded = has_password(os.environ)
    roof.start("flower", ["flower", f"--port={port}", *([] if guarded else ["--address=127.0.0.1"])], last=True)
    who = "" if guarded else " (this machine alone; FLOWER_BASIC_AUTH=NAME:PASSWORD lets others in)"
    click.echo(f"reelq: Flower at http://127.0.0.1:{port}{who}", err=True)
