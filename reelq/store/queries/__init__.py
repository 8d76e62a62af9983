"""Read-only queries.

batch_status.py  the progress of a batch: counts, rows in motion, what holds it up
lookup.py        batches and rows by name or number, and lists of batches
rows.py          a batch's rows with their results and errors, for programs and for result files
events.py        the events of a batch or a row, in order and without gaps, and whether there will be more
account.py       what the database knows of the account, without asking the service
metrics.py       metrics of the whole deployment
"""
