"""The `reelq` command.

app.py, group.py  the entry point; a command's module is imported only when the command is called
commands/         the commands: each parses, calls one function, and prints
submit.py         turns a manifest on the command line into a batch in the queue
estimate.py       describes what a submission will do and cost
local_run.py      follows a batch to its end and, without a broker, runs it in this process
targets.py        resolves what a user types (an id, a name, `last`, BATCH:ROW) to a batch or a row, and opens its queue
sandbox_mode.py   `--sandbox`: runs the stand-in service for one command
supervisor.py     starts and stops the processes of `reelq up`
backends/         the queue as commands see it: a local database or a remote REST service
views/            show a batch on a terminal, as lines, or as a report
doctor/           the checks of `reelq doctor`
errors.py, interrupts.py  exit codes and error messages; Ctrl-C
"""
