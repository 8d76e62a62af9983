"""The life of a job, from being due to its end.

scheduler.py    find jobs that are due or whose message was lost, and mark them as published
admission.py    let jobs into the broker, fairly between owners and batches
claims.py       claim a job for one stage
leases.py       finish or reschedule a stage, renew leases, release jobs, requeue jobs whose lease has expired
sends.py        record each instruction before it is sent, so that it is paid for once
transitions.py  the only code that changes a status: compare, set, and write the event
dependents.py   end a job, and release or cancel the jobs that wait for it
polling.py      record the results of polling many exports at once
retries.py      start a job again, from the stage that its error calls for or in a new session; or cancel it
parked.py       jobs that wait for credits or a token, and when they resume
"""
