"""The database: the only package that runs SQL, and the only record of the state of each row.

db/          tables, connections, migrations, encryption of tokens
billing/     accounts with the service: tokens, rate limits, credits, and what each send cost
webhooks/    endpoints, the outbox of events, and deliveries
jobs/        the life of a job: claims, leases, transitions, sends, scheduling
submission/  turns a manifest into jobs: planning, submitting, refining
queries/     read-only queries: status, rows, events, metrics
commands.py  what users ask for: retry, cancel, pause, resume
api_keys.py, idempotency.py, assets.py, retention.py  the REST service's keys, replayed answers and uploads; retention

Imports point up this list, never down: commands and queries import jobs, jobs import billing, and all
import db.
"""
