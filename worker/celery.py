"""The app that `celery -A worker …` loads. It also tells Flower where its configuration is."""

import os
from pathlib import Path

from reelq import logs
from reelq.settings import Settings
from worker.process import worker_app

# By default, Flower looks for its configuration in the current folder.
os.environ["FLOWER_CONF"] = os.environ.get("FLOWER_CONF") or str(Path(__file__).with_name("flowerconfig.py"))
_settings = Settings.read()
logs.set_up_for_celery(_settings.reelq_log_format)
app = worker_app(_settings)
