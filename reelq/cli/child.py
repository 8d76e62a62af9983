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
    if name == "worker":
        from worker.celery import app

        app.worker_main(["--quiet", "worker", *words])
        return
    from reelq import logs
    from reelq.settings import Settings

    settings = Settings.read()
    if name == "api":
        host, port = words
        logs.set_up(settings.reelq_log_format)
        _serve(host, int(port), grace=settings.reelq_stop_grace)
        return
    from reelq.dispatch import make_celery

    logs.for_celery(settings.reelq_log_format)
    make_celery(settings).start(["--quiet", name, *words])


def _serve(host: str, port: int, *, grace: float) -> None:
    import uvicorn

    # Whoever watches asks once a second: a line for each request would be all that the log says.
    quiet = uvicorn.Config(
        "api.app:app", host=host, port=port, timeout_graceful_shutdown=math.ceil(grace),
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
