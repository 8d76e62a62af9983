"""The checks of `reelq doctor`.

findings.py  the result of a check, and how results are printed
local.py     this machine: Python, folders, encoder, database, variables
network.py   broker, workers, Flower, the reelq service and NemoVideo
"""
