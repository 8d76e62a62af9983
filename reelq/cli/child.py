"""What `reelq up` starts, as `python -m reelq.cli.child NAME …`: worker, REST service, Flower; ends with who did."""

import math
import os
import signal
import sys
import threading


def main() -> None:
    """Begin as what the first argument says."""
    threading.Thread(target=_end_with_stdin, name="reelq end", daemon=True).start()
    name, *words = sys.argv[1:]
    if name == "api":
        host, port = words
        _serve(host, int(port))
        return
    if name == "worker":
        number, *words = words
        _tell_metrics_apart(int(number))
    from worker.celery import app

    if name == "worker":
        app.worker_main(["--quiet", name, *words])
    else:
        app.start(["--quiet", name, *words])


def _tell_metrics_apart(number: int) -> None:
    """No two workers can listen at one port: the second has the next one, and so on."""
    from reelq.settings import Settings

    if place := Settings.read().metrics_place:
        host, port = place
        os.environ["REELQ_METRICS_ADDRESS"] = f"[{host}]:{port + number - 1}"


def _serve(host: str, port: int) -> None:
    import uvicorn

    from reelq import logs
    from reelq.settings import Settings

    settings = Settings.read()
    logs.set_up(settings.reelq_log_format)
    # Whoever watches asks once a second: a line for each request would be all that the log says.
    quiet = uvicorn.Config(
        "api.app:app", host=host, port=port, timeout_graceful_shutdown=math.ceil(settings.reelq_stop_grace),
        log_config=None, access_log=False, server_header=False, ws="none",
    )  # fmt: skip
    uvicorn.Server(quiet).run()


def _end_with_stdin() -> None:
    """Whoever started this holds the other end of its input: killed, it can't tell us to stop, but this shows it."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
