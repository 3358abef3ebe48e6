"""`audit look` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def look_command(
    images: Annotated[list[Path], typer.Argument(help="Image files.", metavar="IMAGE...")],
    out: Annotated[Path | None, typer.Option(help="Folder to write each picture to, as 8-bit PNG.")] = None,
    colour: Annotated[
        bool, typer.Option("--colour", help="Read colours, as for a network that is shown them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only a JSON list on standard output.")] = False,
) -> None:
    """Show how the audit reads an image, and which facts of the file it used."""
    from audit.commands import look

    raise typer.Exit(look.look(images, out=out, as_json=as_json, colour=colour))
