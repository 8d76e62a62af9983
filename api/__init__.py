"""The REST service: accepts batches and reports on them.

app.py           every route on one page
routing.py       what happens around every handler: key, parameters, errors
deps.py          dependencies of handlers: the service, the caller, pagination
errors.py        errors as RFC 9457 problem details
schemas.py       the resources in responses
uploads.py       streaming of request bodies, including multipart
batch_intake.py  a manifest over HTTP, checked and submitted or estimated
idempotency.py   `Idempotency-Key`
event_stream.py  live events (server-sent events)
routes/          the handlers: parse, call one function, answer
"""
