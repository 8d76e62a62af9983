"""The queue as commands see it.

base.py   the interface
local.py  a database that this machine reaches
http/     a remote reelq service
"""
