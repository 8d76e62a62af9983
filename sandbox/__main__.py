"""The sandbox's command line: `python -m sandbox`, and `reelq sandbox`."""

import errno
import math
import os
import socket

import click

from sandbox.faults import KINDS, UnknownFault, read_setting, read_words

_ABOVE_0 = click.FloatRange(0, min_open=True)
_EPILOG = (
    "\b\nFAULTS, each NAME=RATE, NAME=SECONDS or NAME=key:value,… with the keys rate, count, on, for, seconds:\n"
    + "\n".join(f"  {kind.name:22} {kind.means}" for kind in KINDS.values())
    + "\n\n\b\nExamples:\n"
    "  python -m sandbox --port 8750 --speed 60\n"
    "  python -m sandbox --no-latency silent_edit=0 rate_limited=count:2,on:render+poll edit_seconds=1.5\n"
)


def _faults(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, object]:
    try:
        faults = dict(map(read_words, values))
        for name, value in faults.items():
            read_setting(name, value)
    except UnknownFault as error:
        raise click.BadParameter(str(error)) from None
    return faults


def _tokens(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    tokens = {}
    for value in values:
        token, _, credits_ = value.partition("=")
        if not credits_.isdigit():
            # Don't repeat the value: it may hold a real token.
            raise click.BadParameter("give each as TOKEN=CREDITS")
        tokens[token] = int(credits_)
    return tokens


def _finite(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """Reject what `FloatRange` accepts: NaN and infinity."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("give a number, such as 0.5")
    return value


def _reason(error: OSError | UnicodeError) -> str:
    """Why the address can't be used, and what to do about it if that is known."""
    if isinstance(error, UnicodeError | socket.gaierror):
        return "no such host"
    # The error's own text would repeat the address.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{reason}; --port 0 takes a free port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else reason


@click.command(epilog=_EPILOG, context_settings={"show_default": True, "max_content_width": 120})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=8750, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--speed", default=20.0, type=_ABOVE_0, callback=_finite, help="Divide the documented latencies by this.")
@click.option("--latency/--no-latency", default=True, help="Wait as the real service does, or answer at once.")
@click.option("--seed", default=0, help="The same seed and requests give the same choices.")
@click.option("--credits", "credits_", default=100, type=click.IntRange(0), help="Credits of a new free account.")
@click.option("--token", "tokens", multiple=True, callback=_tokens, metavar="TOKEN=CREDITS", help="A registered user.")
@click.option(
    "--streams", default="mixed", type=click.Choice(["adk", "flat", "mixed"]), help="Format of the agent's events."
)
@click.option(
    "--renders",
    default="mixed",
    type=click.Choice(["plain", "data", "enveloped", "mixed"]),
    help="Format of an export's progress.",
)
@click.option("--keep-alive", type=_ABOVE_0, callback=_finite, help="Seconds between keep-alives; by default 15/speed.")
@click.option("--max-file-mb", default=500, type=click.IntRange(1), help="Largest file that is accepted.")
@click.option("--clients-per-address", default=10, type=click.IntRange(1), help="Free clients allowed per address.")
@click.option("--encoders", default=2, type=click.IntRange(1), help="Exports encoded at the same time.")
@click.option(
    "--end-with-stdin", is_flag=True, help="Stop when standard input closes, as when the parent process exits."
)
@click.argument("faults", nargs=-1, callback=_faults)
def main(host: str, port: int, credits_: int, end_with_stdin: bool, **options: object) -> None:
    """Run a stand-in for the NemoVideo service on this machine: its whole API, at no cost.

    It prints one line when it is ready. Faults are set here, or later with POST /sandbox/faults;
    GET /sandbox/ledger shows the requests it received.
    """
    # Imported here because the help needs none of it.
    from sandbox.server import listen, serve
    from sandbox.service import Settings

    try:
        listening = listen(host, port)
    except (OSError, UnicodeError) as error:
        raise click.ClickException(f"can't listen on {host}:{port}: {_reason(error)}") from None
    settings = Settings(credits=credits_, **options)  # type: ignore[arg-type]
    serve(settings, listening, end_with_stdin=end_with_stdin)


if __name__ == "__main__":
    main(prog_name="python -m sandbox")
