"""The remote service: the only place that knows its words. What leaves here speaks of sessions, drafts and renders."""
