"""A stand-in for the NemoVideo service, built from its contract alone; it imports nothing of reelq."""
