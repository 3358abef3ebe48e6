"""`audit baseline ...` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.cli.text import Json

baseline_app = typer.Typer(
    help="Pin the state that later runs are compared with.", no_args_is_help=True, rich_markup_mode=None
)

FileOption = Annotated[
    Path | None, typer.Option(help="Baseline file; default: the one named in [gate], else audit-baseline.json.")
]


@baseline_app.command("accept")
def accept_command(
    run: Annotated[Path, typer.Argument(help="A finished run folder.", metavar="RUN")],
    file: FileOption = None,
    allow_worse: Annotated[
        bool, typer.Option("--allow-worse", help="Accept although something became worse or is no longer held.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, with --allow-worse; it is kept in the file.")] = "",
) -> None:
    """Accept a run as the baseline; what is shown to be worse needs --allow-worse --reason TEXT, equal values leave the pin."""
    from audit.commands import baselines

    raise typer.Exit(baselines.accept(run, file, allow_worse=allow_worse, reason=reason))


@baseline_app.command("prune")
def prune_command(file: FileOption = None) -> None:
    """Remove from the baseline what no rule of audit.toml asks for any more."""
    from audit.commands import baselines

    raise typer.Exit(baselines.prune(file))


@baseline_app.command("show")
def show_command(file: FileOption = None, as_json: Json = False) -> None:
    """Print what the baseline holds, and its history."""
    from audit.commands import baselines

    raise typer.Exit(baselines.show(file, as_json=as_json))
