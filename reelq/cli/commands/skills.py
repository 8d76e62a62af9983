"""`reelq skills`: the skills that a row can ask for."""

import click

from reelq import skills
from reelq.settings import Settings


@click.command("skills")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the skills, or print the full guide of the skill NAME.

    \b
    Example: reelq skills ai-video-face-swap
    """
    own = Settings.read().reelq_data_dir / "skills"
    known = skills.load([own])
    if name is not None:
        click.echo(known.named(name).body)
        return
    width = max(map(len, known))
    for skill in known.values():
        click.echo(f"{skill.name:{width}}  {skill.version}  {skill.description}")
    for note in (*known.notes, f"\nPut your own skills into {own}, as NAME/SKILL.md."):
        click.echo(note, err=True)
