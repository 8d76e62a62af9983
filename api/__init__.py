"""The HTTP process: takes batches and shows where they are. It rests on the spine and knows nothing of `worker`."""
