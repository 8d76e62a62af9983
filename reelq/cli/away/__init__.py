"""The queue of a reelq service that is somewhere else, asked over HTTP."""
