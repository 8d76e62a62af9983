"""The checks of `reelq doctor`.

finding.py  the result of a check: ok, a warning or wrong, and how to fix it
local.py    this machine: Python, folders, encoder, database, variables
network.py  broker, workers, Flower, the reelq service and NemoVideo
report.py   prints findings
"""
