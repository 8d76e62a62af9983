"""The truth, in SQL: the only place that says it. Everything else asks in the words of a noun's module."""
