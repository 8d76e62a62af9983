"""Configuration of Flower, which `celery -A worker flower` and `reelq up` load.

Each name without an underscore is an option of Flower. Environment variables (FLOWER_…) override what is set here, and
the command line overrides both.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tornado.options import options

from reelq.job import PIPELINE
from reelq.settings import Settings
from worker import flower_access

if TYPE_CHECKING:
    from celery.events.state import Task

tasks_columns = "name,args,state,received,runtime,exception,retries,worker,uuid"

# A row has six tasks, so this is enough for 1,600 rows. Flower's default is ten times as many: they take 630 MB and
# four seconds to save, and Flower answers no requests meanwhile.
max_tasks = 10_000
persistent = True
db = str(Settings.read().reelq_data_dir / "flower.db")
state_save_interval = 60_000  # milliseconds
# Workers that `reelq up` starts have a new name each time. Without this, those that ended would stay in the list.
purge_offline_workers = 3_600  # seconds

# A poll of an export takes less than a second, an edit takes minutes.
task_runtime_metric_buckets = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0]

# Flower only displays; rows are controlled with `reelq pause`, `cancel` and `retry`. If Flower told a worker to stop
# consuming, the worker would still look healthy, and rows would wait for no visible reason.
read_only = True


def format_task(task: "Task") -> "Task":
    """Hide the traceback of a stage, which only shows where reelq reported that it failed."""
    if task.name in PIPELINE:
        task.traceback = None
    return task


Path(db).parent.mkdir(parents=True, exist_ok=True)

for _option in [name for name in globals() if os.environ.get(f"FLOWER_{name.upper()}")]:
    del globals()[_option]

address = options.address or flower_access.DEFAULT_ADDRESS
basic_auth = flower_access.non_empty(options.basic_auth or [])
if _problem := flower_access.access_problem(
    address, basic_auth, guarded_otherwise=bool(options.auth or options.unix_socket)
):
    raise SystemExit(f"Flower does not start: {_problem}. {flower_access.ADVICE}")
