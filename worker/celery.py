"""Where `celery -A worker worker` finds the app."""

from reelq.settings import Settings
from worker.process import as_worker

app = as_worker(Settings.read())
