"""`python -m sandbox`."""

from sandbox.command import main

main(prog_name="python -m sandbox")
