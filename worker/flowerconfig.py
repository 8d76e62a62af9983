"""What Flower shows of the queue, and to whom: `celery -A worker flower` and `reelq up` find it by themselves.

Each name without an underscore is an option of Flower. What the environment (FLOWER_…) says goes before what is said
here, and the command line before both.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tornado.options import options

from reelq.job import PIPELINE
from reelq.settings import Settings
from worker import visitors

if TYPE_CHECKING:
    from celery.events.state import Task

tasks_columns = "name,args,state,received,runtime,exception,retries,worker,uuid"

# Six tasks a row: more than 1,600 rows. Ten times as many, Flower's own default, take 630 MB and four seconds to save,
# in which nobody is answered.
max_tasks = 10_000
persistent = True
db = str(Settings.read().reelq_data_dir / "flower.db")
state_save_interval = 60_000  # milliseconds
# Workers that `reelq up` starts have another name each time; those that ended would stay in the list for ever.
purge_offline_workers = 3_600  # seconds

# A look at an export takes less than a second, an edit minutes.
task_runtime_metric_buckets = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0]

# Flower shows, reelq acts. A worker told here to take no more from the queue goes on looking well, and rows wait for no
# cause that anybody sees; `reelq pause`, `cancel` and `retry` say what becomes of a row.
read_only = True


def format_task(task: "Task") -> "Task":
    """As people are to see it. Where in our code a stage said "later" or "failed" is no news to them."""
    if task.name in PIPELINE:
        task.traceback = None
    return task


Path(db).parent.mkdir(parents=True, exist_ok=True)

for _name in [name for name in globals() if os.environ.get(f"FLOWER_{name.upper()}")]:
    del globals()[_name]

address = options.address or visitors.HERE
basic_auth = visitors.named(options.basic_auth or [])
if _fault := visitors.fault(address, basic_auth, guarded_otherwise=bool(options.auth or options.unix_socket)):
    raise SystemExit(f"Flower does not start: {_fault}. {visitors.MEND}")
