"""Accounts with the service, and their credits.

accounts.py       find or create the account that this deployment uses
token_store.py    the account's token, renewed by one process at a time
throttling.py     limits on an account: the pause after a 429, its window, and parking
single_flight.py  one caller makes a request, all who wait share the result
ledger.py         read the balance, and work out what each send cost
spending.py       what was spent, over a time and by batch, and an estimate of what a manifest will cost
"""
