"""What each route does: parse, call one function of the spine, answer."""
