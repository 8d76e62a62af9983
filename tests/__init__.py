"""All tests. `make check` runs unit/, `make test` everything but benchmarks/.

unit/         one module of the product each: no process, no socket, no wait
stages/       one stage of a job against its inputs
contract/     the client and the sandbox against the remote service's contract, over real sockets
integration/  the store on SQLite and PostgreSQL
api/          the REST service over HTTP
queue/        whole deployments: workers killed, stopped and cut off, a broker that restarts
acceptance/   what a user types and sees
benchmarks/   figures, and limits in seconds: `make bench`, `make limits`
mutations/    breaks the engine on purpose, to see that the tests notice: `make mutations`

servers.py starts Redis and PostgreSQL, databases.py copies migrated databases, sandbox_process.py starts the service's
stand-in. No test needs a server that somebody else started.
"""
