"""The six stages, a module each: a frozen job in, a frozen receipt out. They know no SQL and no Celery."""
