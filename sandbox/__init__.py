"""A stand-in for the NemoVideo service, built from its contract alone; it imports nothing of reelq.

app.py            every route, and the control endpoints: faults, credits, recorded requests
middleware.py     what every request passes through: recording, faults, authentication
sessions.py, uploads.py, renders.py     the endpoints; agent_runs.py has that of the agent
agent.py, draft.py, stream.py           how the agent edits a draft, what it says, how that is streamed
media.py, captions.py                   reads uploads and encodes results, with a real encoder
service.py, state.py, ledger.py         what they share: settings, accounts and sessions, what was asked
faults.py         every fault that can be injected
responses.py      the envelope, refusals, dropped connections
server.py         the process: socket, temporary folder, shutdown
"""
