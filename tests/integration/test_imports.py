"""What a command loads is what it takes to start: most look at a database and print."""

import subprocess
import sys

_SHOW = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(name)
print(*sorted({name.partition(".")[0] for name in sys.modules} | {"rich.console"} & {*sys.modules}))
"""


def loaded_by(*modules: str) -> set[str]:
    """The packages that a new process has loaded after these modules."""
    shown = [sys.executable, "-c", _SHOW, *modules]
    return set(subprocess.run(shown, capture_output=True, text=True, check=True, timeout=60).stdout.split())


def test_commands_that_only_look_load_neither_worker_nor_network_nor_migrations() -> None:
    loaded = loaded_by(*(f"reelq.cli.{name}" for name in ("status", "pause", "results", "show", "retry")))
    assert "sqlalchemy" in loaded
    assert not {"celery", "kombu", "httpx", "alembic", "worker", "api", "fastapi", "rich.console"} & loaded


def test_the_module_of_the_skills_does_not_load_the_yaml_reader() -> None:
    assert not {"yaml", "frontmatter"} & loaded_by("reelq.skills")
