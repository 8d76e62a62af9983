"""The commands: each parses, calls one function, and prints. group.py knows the modules that hold several commands."""
