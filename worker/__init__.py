"""The Celery process: takes jobs stage by stage. It rests on the spine and knows nothing of `api`."""
