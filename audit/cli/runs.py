"""`audit report`, `export`, `gate` and `diff` on the command line: all on run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.cli.comments import ArtifactUrl, CommentFile, EmbedPictures, FilesUrl, comment_output
from audit.cli.text import Json

BaselineOption = Annotated[
    Path | None,
    typer.Option(
        help="Baseline for max_increase and max_decrease: a run folder, or a file of `audit baseline accept`."
    ),
]


def must_exist(baseline: Path | None) -> None:
    """Refuse a baseline that was named by hand and does not exist: only one of the configuration may be yet to come."""
    if baseline is not None and not baseline.exists():
        from audit.errors import UsageError

        raise UsageError(
            f"--baseline {baseline} does not exist. Check the path. For a first run without a baseline, name the file as "
            "baseline in [gate] of audit.toml and omit the option."
        )


RunArgument = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]


def report_command(
    run: Annotated[list[Path], typer.Argument(help="A run folder; several with --compare.", metavar="RUN...")],
    compare: Annotated[bool, typer.Option("--compare", help="Compare several runs in one page.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="HTML file that --compare writes.", show_default="comparison.html")
    ] = None,
    signoff: Annotated[
        list[Path] | None,
        typer.Option(
            help="Review saved by the report's page, to add to the report; repeatable, one for each reviewer."
        ),
    ] = None,
    pdf: Annotated[
        Path | None, typer.Option(help="PDF to print the report to; needs a browser of the Chromium family.")
    ] = None,
) -> None:
    """Render report.html, summary.md and junit.xml of a finished run again, optionally with a review, or compare runs."""
    from audit.commands import auditing

    if compare:
        if signoff:
            raise typer.BadParameter("--signoff applies to one run; omit --compare")
        if pdf is not None:
            raise typer.BadParameter("--pdf applies to one run; omit --compare")
        raise typer.Exit(auditing.compare(run, out or Path("comparison.html")))
    if out is not None:
        raise typer.BadParameter("--out requires --compare; the report of a single run is written to its folder")
    if len(run) != 1:
        raise typer.BadParameter(f"expected one run folder, found {len(run)}; use --compare for several")
    raise typer.Exit(auditing.report(run[0], signoff=signoff or (), pdf=pdf))


def export_command(
    form: Annotated[str, typer.Argument(help="mlflow, model-card, cyclonedx or standards.", metavar="FORM")],
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; default: standard output. For standards, a name that ends in .csv gives a table."
        ),
    ] = None,
) -> None:
    """Export a finished run for another tool, or the reviewers' standards that it answers."""
    from audit.commands import export

    raise typer.Exit(export.export(form, run, out))


def gate_command(
    run: RunArgument,
    baseline: BaselineOption = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML to write.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="SARIF file to write, for code scanning.")] = None,
    code_quality: Annotated[Path | None, typer.Option(help="GitLab code quality report to write.")] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations and write the step summary.")] = False,
    pr_comment: CommentFile = None,
    artifact_url: ArtifactUrl = "",
    files_url: FilesUrl = "",
    embed_pictures: EmbedPictures = False,
    as_json: Json = False,
) -> None:
    """Judge a finished run by the gates of audit.toml."""
    from audit.commands import auditing
    from audit.run.setting_sources import load_settings

    if github and as_json:
        raise typer.BadParameter("--json prints only one object; use either --github or --json")
    must_exist(baseline)
    comment = comment_output(pr_comment, artifact_url, files_url, embed_pictures)
    outputs = auditing.GateOutputs(junit=junit, sarif=sarif, code_quality=code_quality, github=github, comment=comment)
    table = load_settings({}, Path()).gate
    raise typer.Exit(auditing.gate(run, table, outputs, baseline=baseline, as_json=as_json))


def diff_command(
    run: RunArgument,
    other: Annotated[Path, typer.Argument(help="The run to compare with.", metavar="BASELINE")],
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    html: Annotated[Path | None, typer.Option(help="HTML page to write, with figures and tables.")] = None,
    pr_comment: CommentFile = None,
    artifact_url: ArtifactUrl = "",
    files_url: FilesUrl = "",
    embed_pictures: EmbedPictures = False,
) -> None:
    """Compare every judged effect with another run of the same images, paired by image."""
    from audit.commands import diff

    if as_json and as_markdown:
        raise typer.BadParameter("--json prints only one object; use either --md or --json")
    comment = comment_output(pr_comment, artifact_url, files_url, embed_pictures)
    raise typer.Exit(diff.diff(run, other, as_json=as_json, as_markdown=as_markdown, html=html, comment=comment))
