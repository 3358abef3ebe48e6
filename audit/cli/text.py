"""`audit text ...` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from audit.cli.settings import ColumnsOption, LayoutOption, setting_help, table_options

FinderOption = Annotated[str, typer.Option(help=setting_help("detector"))]
BadImage = Annotated[Literal["fail", "skip"], typer.Option(help=setting_help("on_bad_image"))]
Json = Annotated[bool, typer.Option("--json", help="Print only a JSON object on standard output.")]

text_app = typer.Typer(help="Find text and score the text finder.", no_args_is_help=True, rich_markup_mode=None)


@text_app.command("find")
def text_find_command(
    images: Annotated[list[Path], typer.Argument(help="Image files.", metavar="IMAGE...")],
    detector: FinderOption = "cascade",
    boxes: Annotated[Path | None, typer.Option(help=setting_help("boxes"))] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the text cache; default: none.")] = None,
    as_json: Json = False,
) -> None:
    """Print the text regions of images, in pixels of the stored image."""
    from audit.commands import text

    raise typer.Exit(text.find(images, detector, boxes=boxes, cache=cache, as_json=as_json))


@text_app.command("score")
def text_score_command(
    boxes: Annotated[Path, typer.Option(help="JSON file of hand-drawn boxes.")],
    detector: FinderOption = "cascade",
    out: Annotated[Path | None, typer.Option(help="JSON file to write the scores to.")] = None,
    as_json: Json = False,
) -> None:
    """Compare a text finder with hand-drawn boxes: recall by class, source and kind, and false regions."""
    from audit.commands import text

    raise typer.Exit(text.score(boxes, detector, out=out, as_json=as_json))


@text_app.command("atlas")
def text_atlas_command(
    data: Annotated[Path, typer.Option(help="Manifest with class labels, or a folder.")],
    detector: FinderOption = "cascade",
    boxes: Annotated[Path | None, typer.Option(help=setting_help("boxes"))] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of the text cache; default: the cache of audit run.")
    ] = None,
    ignore_label: Annotated[list[str] | None, typer.Option(help=setting_help("ignore_label"))] = None,
    on_bad_image: BadImage = "fail",
    columns: ColumnsOption = None,
    layout: LayoutOption = None,
    seed: Annotated[int, typer.Option(help="Seed of permutations.")] = 0,
    sheet: Annotated[Path | None, typer.Option(help="PNG file that shows the glyph clusters.")] = None,
    as_json: Json = False,
) -> None:
    """Show the text of a cohort and how well it predicts the class. No model is needed."""
    from audit.commands import text
    from audit.run.settings import Settings

    raise typer.Exit(
        text.atlas(
            data,
            detector,
            boxes=boxes,
            cache=cache or Path(Settings().cache),
            ignore_labels=tuple(ignore_label or ()),
            on_bad_image=on_bad_image,
            how=table_options(columns, layout),
            seed=seed,
            sheet=sheet,
            as_json=as_json,
        )
    )
