"""Tables, connections and transactions: what the rest of the store stands on.

models.py         the tables of the queue
client_models.py  the tables of REST clients: API keys, assets, webhooks, idempotency keys
engine.py         one engine per process, short transactions, the database's clock
readonly.py       open a database read-only
migrations.py     schema versions: upgrade and downgrade
types.py          column types, partial indexes, and ids that sort by time
statements.py     cached insert and update statements
vault.py          encrypt the secrets that the database stores
"""
