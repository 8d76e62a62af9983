"""Webhooks: notify other programs of events.

endpoints.py   the endpoints of an owner, and their deliveries
outbox.py      writes deliveries in the transaction of the event; marks batches as finished
deliveries.py  which deliveries are due, and the result of each attempt
"""
