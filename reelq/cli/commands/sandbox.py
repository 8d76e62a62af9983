"""`reelq sandbox`: the stand-in service, which defines its own options."""

import click

try:
    from sandbox.__main__ import main as command
except ModuleNotFoundError as missing:
    raise click.ClickException(f"The sandbox needs {missing.name}: pip install 'reelq[sandbox]'") from None
__all__ = ["command"]
