"""reelq runs a spreadsheet of video edits through NemoVideo and downloads the finished videos.

job.py, errors.py, settings.py   the vocabulary: stages, statuses, errors with advice, settings
manifest/                        turns a spreadsheet into checked rows
nemo/                            the remote service: the only package that knows its protocol
store/                           the database: jobs, credits, submissions, queries
broker.py                        the Celery app, and the chain of tasks that a job is published as
cli/                             the `reelq` command
egress.py                        requests to addresses that users choose (webhooks)
intent.py, media.py, skills/     intents of instructions, media types, skill profiles
storage.py, results.py, logs.py  uploaded and finished files, result manifests, logging

`worker`, `api` and `sandbox` are separate processes. They import this package; only its `cli` imports them.
"""
