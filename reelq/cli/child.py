"""What `reelq up` starts, each as `python -m reelq.cli.child NAME …`: a worker or Flower; ends with who started it."""

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
    from reelq.dispatch import make_celery
    from reelq.settings import Settings

    settings = Settings.read()
    logs.for_celery(settings.reelq_log_format)
    make_celery(settings).start(["--quiet", name, *words])


def _end_with_stdin() -> None:
    """Whoever started this holds the other end of its input: killed, it can't tell us to stop, but this shows it."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
