"""A small agent for the real server of the remote agent's stream."""
