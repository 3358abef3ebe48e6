"""`audit baseline ...` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.cli.text import Json

baseline_app = typer.Typer(
    help="Manage the baseline that later runs are compared with.", no_args_is_help=True, rich_markup_mode=None
)

FileOption = Annotated[
    Path | None, typer.Option(help="Baseline file; default: the one named in [gate], else audit-baseline.json.")
]


@baseline_app.command("accept")
def accept_command(
    run: Annotated[Path, typer.Argument(help="A finished run folder.", metavar="RUN")],
    file: FileOption = None,
    allow_worse: Annotated[
        bool, typer.Option("--allow-worse", help="Accept although a figure is worse or missing.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Reason for --allow-worse; recorded in the file.")] = "",
) -> None:
    """Accept a run as the baseline. Figures that are significantly worse need --allow-worse --reason TEXT; equal ones keep their pin."""
    from audit.commands import baselines

    raise typer.Exit(baselines.accept(run, file, allow_worse=allow_worse, reason=reason))


@baseline_app.command("prune")
def prune_command(file: FileOption = None) -> None:
    """Remove figures that no rule of audit.toml uses any more from the baseline."""
    from audit.commands import baselines

    raise typer.Exit(baselines.prune(file))


@baseline_app.command("show")
def show_command(file: FileOption = None, as_json: Json = False) -> None:
    """Print the figures of the baseline and its history."""
    from audit.commands import baselines

    raise typer.Exit(baselines.show(file, as_json=as_json))
