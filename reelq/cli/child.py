"""Entry point of the processes of `reelq up`: `python -m reelq.cli.child NAME`, where NAME is worker, api or flower."""

import math
import os
import signal
import sys
import threading


def main() -> None:
    """Run the process that the first argument names."""
    threading.Thread(target=_terminate_on_stdin_eof, name="reelq end", daemon=True).start()
    name, *args = sys.argv[1:]
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
    main()
