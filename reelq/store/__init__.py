"""The truth, in SQL: the only place that says it. Everything else asks in the words of a noun's module."""

from reelq.store import clients as clients  # with these, every table is known wherever one is
