"""An in-process worker as a process of its own, so that a test can end it as a crash does."""

import logging
import signal
import sys
import threading
from pathlib import Path

from reelq.settings import Settings
from worker.inprocess import InProcess
from worker.process import Process, leave


def main() -> None:
    """Work with the settings of the environment; argument: how many threads."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for name in ("httpx", "httpcore", "kombu", "celery", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    over = threading.Event()
    process = Process(Settings.read(), home=Path.home())

    def stop(*_: object) -> None:
        if over.is_set():
            process.at_once()
        over.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker = InProcess(process, threads=int(sys.argv[1]))
    worker.start()
    over.wait()
    worker.stop()
    leave()


if __name__ == "__main__":
    main()
