"""`reelq up`: runs the REST service, workers and Flower together on this machine."""

import os
import socket
import sys

import click

from reelq.cli.backends.local import Deployment, open_deployment
from reelq.cli.doctor.network import broker_error
from reelq.cli.errors import FAILED, INTERRUPTED, OK
from reelq.cli.supervisor import Supervisor
from reelq.cli.views.text import without_password
from reelq.errors import SettingsError
from reelq.store import api_keys
from worker import flower_access

_PORT = click.IntRange(1, 65535)
_GET_REDIS = """\
Without a broker, `reelq run` does all the work in one process.
To start Redis:
  Debian, Ubuntu   sudo apt install redis-server
  macOS            brew install redis && brew services start redis
  Docker           docker run -d -p 6379:6379 redis
Then:              export REELQ_BROKER_URL=redis://127.0.0.1:6379/0"""


@click.command("up")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Number of worker processes.")
@click.option("--api/--no-api", "api", default=True, show_default=True, help="Run the REST service.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the REST service; use 0.0.0.0 to accept other machines.",
)
@click.option("--port", default=8000, show_default=True, type=_PORT, help="Port of the REST service.")
@click.option("--flower/--no-flower", default=True, show_default=True, help="Run Flower, the web view of the workers.")
@click.option(
    "--flower-port", envvar="FLOWER_PORT", default=5555, show_default=True, type=_PORT, help="Port of Flower."
)
def command(workers: int, api: bool, host: str, port: int, flower: bool, flower_port: int) -> None:
    """Run the REST service, workers and Flower on this machine until Ctrl-C.

    On the first Ctrl-C the workers finish what they have started (at most REELQ_STOP_GRACE seconds); the second stops
    them at once. Nothing is lost either way.

    The REST service requires an API key (`reelq keys create`) and speaks plain HTTP: put a TLS proxy in front of it if
    other machines reach it. Flower listens on this machine only; set FLOWER_ADDRESS=0.0.0.0 to open it, and
    FLOWER_BASIC_AUTH=NAME:PASSWORD, which is then required.

    \b
    Example: REELQ_BROKER_URL=redis://127.0.0.1:6379/0 reelq up --workers 2
    Exit code: 0 when stopped, 1 if a process exited by itself, 2 without Redis,
    130 if stopped at once.
    """
    with open_deployment() as local:
        _check(local)
        keyless = all(key.revoked_at for key in api_keys.all_keys(local.store))
    if api:
        _check_port("The REST service", host, port, "Choose another address with --host and --port, or use --no-api.")
    if flower:
        _check_flower(flower_port)
    # JSON lines are printed unchanged: a prefix would make them invalid.
    supervisor = Supervisor(prefixed=local.settings.reelq_log_format == "console")
    for number in range(1, workers + 1):
        options = ["--loglevel=INFO", f"--hostname=worker{number}.{os.getpid()}@%h"]
        supervisor.start(f"worker {number}", ["worker", str(number), *options])
    if api:
        supervisor.start("api", ["api", host, str(port)])
        url = f"http://{_host_in_url(host)}:{port}"
        click.echo(f"reelq: REST service at {url}, API reference at {url}/docs", err=True)
        if keyless:
            click.echo("reelq: no API key exists yet; create one with `reelq keys create --owner NAME`", err=True)
    if flower:
        supervisor.start("flower", ["flower", f"--port={flower_port}"], last=True)
        address = flower_access.address(os.environ)
        note = " (this machine only; set FLOWER_ADDRESS to open it)" if flower_access.is_loopback(address) else ""
        click.echo(f"reelq: Flower at http://{_host_in_url(address)}:{flower_port}{note}", err=True)
    click.echo("reelq: up; Ctrl-C stops", err=True)
    stop_requested = supervisor.run()
    click.echo("reelq: all stopped; nothing is lost", err=True)
    sys.exit((INTERRUPTED if supervisor.hurried else OK) if stop_requested else FAILED)


def _check(local: Deployment) -> None:
    """Raise, before anything is started, if the processes would exit at once."""
    if local.settings.reelq_broker_url is None:
        raise SettingsError("REELQ_BROKER_URL is not set; workers need a Redis broker", _GET_REDIS)
    url = local.settings.reelq_broker_url.get_secret_value()
    if why := broker_error(url):
        raise SettingsError(f"REELQ_BROKER_URL: {without_password(url)} can't be used: {why}", _GET_REDIS)
    _ = local.vault  # raises if the key is missing or wrong


def _check_flower(port: int) -> None:
    if fault := flower_access.refusal(os.environ):
        raise SettingsError(f"Flower: {fault}", f"{flower_access.ADVICE}. Or use --no-flower.")
    if not os.environ.get("FLOWER_UNIX_SOCKET"):
        advice = "Choose another port with --flower-port, or use --no-flower."
        _check_port("Flower", flower_access.address(os.environ), port, advice)


def _check_port(who: str, host: str, port: int, advice: str) -> None:
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        raise click.UsageError(f"{who} can't listen on {host}:{port}: {error.strerror}. {advice}") from None


def _host_in_url(host: str) -> str:
    """The host as it stands in a URL that works on this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
