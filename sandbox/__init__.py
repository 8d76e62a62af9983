"""A stand-in for the NemoVideo service, built from its contract alone; it imports nothing of reelq.

app.py           every route
middleware.py    what every request passes through: recording, faults, authentication
state.py         the service's state: accounts, sessions, exports, files
agent.py, agent_runs.py, talk.py  the agent: how it edits a draft, how long it takes, what it says
renders.py, encoder.py  exports, made by a real encoder
faults.py, kinds.py     every fault that can be injected
control.py, ledger.py   endpoints for tests: faults, credits, recorded requests
"""
