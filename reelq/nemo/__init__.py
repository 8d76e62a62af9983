"""The client of the remote service. No other package knows the service's protocol.

client.py      every request that the service accepts, one method each
transport.py   connections, timeouts, the bearer token on each request, and network failures as our errors
identity.py    who we are: the client id, and the token
wire.py        the service's JSON to our types and back, its error codes to our errors
stream.py      parses the agent's event stream, in both dialects
timeline.py    describes a draft: its timeline, its fingerprint, what changed
agent_text.py  parses the agent's reply: what to keep, and what to hand back to the agent
transfer.py    uploads and downloads, resumed and verified
types.py       the types that the calls return
safe_text.py   makes JSON and error texts safe to store and show
probe.py       one quick check of the service, for `reelq doctor`
"""
