"""Options of a comment for a pull request, which `run`, `gate` and `diff` write alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from audit.commands.comments import CommentOutput

CommentFile = Annotated[Path | None, typer.Option(help="Markdown file to write, for a comment on a pull request.")]
ArtifactUrl = Annotated[
    str, typer.Option(help="Address of the artifact with the run folder, which the comment links to.")
]
FilesUrl = Annotated[
    str,
    typer.Option(
        help="Address below which files of the run folder can be opened, such as GitLab's .../artifacts/raw/runs/RUN: the comment shows "
        "pictures from there."
    ),
]
EmbedPictures = Annotated[
    bool,
    typer.Option(
        "--embed-pictures", help="Put the comment's pictures into it as data. GitHub and GitLab do not show them."
    ),
]


def comment_output(file: Path | None, artifact_url: str, files_url: str, embed: bool) -> CommentOutput | None:
    """Return what the options ask for; None where no comment is asked for."""
    if file is None:
        if artifact_url or files_url or embed:
            raise typer.BadParameter(
                "--artifact-url, --files-url and --embed-pictures are about the comment; add --pr-comment FILE"
            )
        return None
    for name, url in (("--artifact-url", artifact_url), ("--files-url", files_url)):
        if url and (not url.startswith(("https://", "http://")) or not url.isprintable() or " " in url):
            raise typer.BadParameter(f"{name} must be an address that begins with https:// or http://, found {url!r}")
    from audit.commands.comments import CommentOutput
    from audit.reports.ci.comment import CommentLinks

    return CommentOutput(file=file, links=CommentLinks(artifact=artifact_url, files=files_url, embed=embed))
