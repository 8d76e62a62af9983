"""What a command loads is what it takes to start: most look at a database and print."""

import subprocess
import sys

import pytest

_SHOW = """
import sys
from importlib import import_module
import_module(sys.argv[1])
print(*sorted({name.partition(".")[0] for name in sys.modules} | {"rich.console"} & {*sys.modules}))
"""


@pytest.mark.parametrize("command", ["status", "pause", "results", "show", "retry"])
def test_a_command_that_only_looks_loads_neither_worker_nor_network_nor_migrations(command: str) -> None:
    shown = [sys.executable, "-c", _SHOW, f"reelq.cli.{command}"]
    loaded = subprocess.run(shown, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    assert "sqlalchemy" in loaded
    assert {"celery", "kombu", "httpx", "alembic", "worker", "api", "fastapi", "rich.console"} & set(loaded) == set()
