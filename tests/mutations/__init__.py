"""Whether the tests still guard the promises: the engine is broken on purpose, one line at a time, in a copy."""
