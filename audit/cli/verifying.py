"""`audit verify` on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from audit.cli.runs import RunArgument
from audit.cli.settings import with_some_settings
from audit.cli.text import Json
from audit.run.setting import Setting
from audit.run.settings import Settings

_OFFERED = frozenset(
    {
        "model", "data", "layout", "columns", "remote", "task", "predictions", "ignore_label", "on_bad_image", "boxes", "backend", "device",
        "models", "cache",
    }
)  # fmt: skip
_DECIDED = frozenset({"check", "operating_points"})
"""Settings of a model that the run's plan decides."""


def _chosen(setting: Setting) -> bool:
    return setting.name in _OFFERED or (setting.section == "model" and setting.name not in _DECIDED)


def _verify(
    settings: Settings,
    run: RunArgument,
    recompute: Annotated[
        float | None,
        typer.Option(
            help="Share of the images to compute again from manifest and model, such as 0.01, and to compare with the run. The other "
            "options are for this."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed that draws these images; default: a new one each time, which is stored.", min=0),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that no file of a run was changed since it finished; with --recompute, that a share of it comes out again.

    Exit codes: 0 nothing differs, 1 a computed value differs, 4 a file was changed or the share cannot be computed.
    """
    from audit.commands import verifying

    if recompute is None and seed is not None:
        raise typer.BadParameter("--seed draws the images of --recompute; add --recompute, or omit --seed")
    raise typer.Exit(verifying.verify(run, settings, share=recompute, seed=seed, as_json=as_json))


verify_command = with_some_settings(_verify, _chosen)
