"""Where `celery -A worker …` finds the app: the worker's, and through it Flower's configuration."""

import os
from pathlib import Path

from reelq import logs
from reelq.settings import Settings
from worker.process import as_worker

# Unless it is told, Flower looks for it in the current folder.
os.environ["FLOWER_CONF"] = os.environ.get("FLOWER_CONF") or str(Path(__file__).with_name("flowerconfig.py"))
_settings = Settings.read()
logs.for_celery(_settings.reelq_log_format)
app = as_worker(_settings)
