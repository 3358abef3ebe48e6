"""`audit run` and `audit plan` on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from audit.cli.comments import ArtifactUrl, CommentFile, EmbedPictures, FilesUrl, comment_output
from audit.cli.runs import BaselineOption, must_exist
from audit.cli.settings import with_settings
from audit.cli.text import Json
from audit.run.settings import Settings


@with_settings
def run_command(
    settings: Settings,
    gate: Annotated[
        bool, typer.Option("--gate", help="Apply gates; the default rules if none are configured.")
    ] = False,
    baseline: BaselineOption = None,
    pr_comment: CommentFile = None,
    artifact_url: ArtifactUrl = "",
    files_url: FilesUrl = "",
    embed_pictures: EmbedPictures = False,
    as_json: Json = False,
) -> None:
    """Audit a model: edit its test images, measure the changes of its predictions, and write the report.

    Most options can also be set in the environment (--seed as AUDIT_SEED) and in [run] of audit.toml (seed = 0).
    """
    if baseline is not None:
        must_exist(baseline)
        settings = replace(settings, gate={**(settings.gate or {}), "baseline": str(baseline)})
    comment = comment_output(pr_comment, artifact_url, files_url, embed_pictures)
    if settings.emit and not settings.predictions:
        if comment is not None:
            raise typer.BadParameter("--emit ends before anything is measured; omit --pr-comment")
        from audit.commands import emitting

        raise typer.Exit(emitting.emit(settings, as_json=as_json))
    from audit.commands import auditing

    raise typer.Exit(
        auditing.run(
            settings,
            gate=gate or baseline is not None,
            as_json=as_json,
            command=["audit", *sys.argv[1:]],
            comment=comment,
        )
    )


@with_settings
def plan_command(
    settings: Settings,
    sheet: Annotated[
        Path | None, typer.Option(help="PNG file that shows every condition on an image of each class.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what `audit run` with the same settings would do and how long it would take, without running it."""
    from audit.commands import planning

    raise typer.Exit(planning.plan(settings, sheet=sheet, as_json=as_json))
