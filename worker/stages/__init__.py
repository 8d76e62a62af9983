"""The six stages, one module each. A stage takes a frozen job and returns a frozen receipt, without SQL or Celery."""
