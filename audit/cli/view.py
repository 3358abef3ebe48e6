"""`audit view` on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from audit.cli.runs import RunArgument
from audit.cli.settings import with_some_settings
from audit.run.settings import Settings

_OFFERED = frozenset({"data", "columns", "layout", "remote", "ignore_label", "model", "models", "kind", "trust"})


def _view(
    settings: Settings,
    *,
    run: RunArgument,
    case: Annotated[
        str | None, typer.Option(help="Open this image: its pseudonym, or its first digits.", metavar="IMAGE")
    ] = None,
    condition: Annotated[str | None, typer.Option(help="Open it under this condition.", metavar="CONDITION")] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 for any that is free.", min=0, max=65535)] = 0,
) -> None:
    """Open a local page with every image of a run: predictions under every condition, and each edit drawn on demand."""
    from audit.commands import view

    raise typer.Exit(view.view(run, settings, port=port, image=case, condition=condition))


view_command = with_some_settings(_view, lambda setting: setting.name in _OFFERED)
