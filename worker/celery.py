"""Where `celery -A worker worker` finds the app."""

from reelq import logs
from reelq.settings import Settings
from worker.process import as_worker

_settings = Settings.read()
logs.for_celery(_settings.reelq_log_format)
app = as_worker(_settings)
