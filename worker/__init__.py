"""The Celery worker: runs jobs, stage by stage.

tasks.py          the Celery tasks: one for each stage, one for webhooks
executor.py       handles one message: claims the job, runs the stage, records the outcome
stages/           the six stages: each takes a frozen job and returns a receipt; no SQL, no Celery
context.py        the interface that a stage works with; db_context.py implements it over the database
outcomes.py       records what a stage returned or raised
retry_policy.py   decides what to do about an error: one pure function
held_jobs.py      the jobs that this process holds under a lease, which process.py renews
maintenance.py    reschedules lost jobs, publishes due work, reads costs, deletes old data
render_poller.py  polls many exports at once, without Celery tasks
webhooks.py       sends webhook deliveries
process.py        puts a worker together: a process of its own, or inside `reelq run`
consumer.py       Celery's consumer, hardened against broker outages and malformed messages
celery.py, flowerconfig.py, flower_access.py  entry points and configuration for `celery -A worker` and Flower
metrics.py        Prometheus metrics
"""
