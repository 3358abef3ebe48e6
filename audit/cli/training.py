"""`audit train`, `audit import`, `audit data`, `audit demo`, `audit curves` on the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from msgspec.structs import replace

from audit.cli.settings import ColumnsOption, LayoutOption, setting_help, table_options, with_some_settings
from audit.cli.text import BadImage
from audit.run.settings import Settings

DemoKind = Literal["chest", "skin"]
data_app = typer.Typer(help="Build manifests from published data sets.", no_args_is_help=True, rich_markup_mode=None)


def _train(
    settings: Settings,
    network: Annotated[str, typer.Argument(help="Network of the paper, A to E, or chexnet.", metavar="NETWORK")],
    data: Annotated[Path, typer.Option(help="Manifest with class labels, or a folder.")],
    recipe: Annotated[str, typer.Option(help="paper, real-small, demo, or a TOML file.")] = "real-small",
    findings_data: Annotated[Path | None, typer.Option(help="Manifest of the findings step; default: --data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Bundle folder; default models/NETWORK.")] = None,
    ignore_label: Annotated[list[str] | None, typer.Option(help=setting_help("ignore_label"))] = None,
    on_bad_image: BadImage = "fail",
    columns: ColumnsOption = None,
    layout: LayoutOption = None,
    backbone_weights: Annotated[Path | None, typer.Option(help="File of torchvision's ImageNet weights.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Bundle that D and E start from; default models/chexnet.")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Batches between checkpoints to resume from.")] = 200,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard files.")] = None,
    audit_every: Annotated[
        str | None,
        typer.Option(
            help="Keep the best network of each phase, or that of every so many epochs, and audit them on the test images: "
            "sensitivity by epoch, drawn by `audit curves`.",
            metavar="phase|EPOCHS",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of splits, initial weights and augmentation.")] = 0,
) -> None:
    """Train a network through all its steps and write its bundle. After an interruption, the same command resumes."""
    from audit.commands import training

    raise typer.Exit(
        training.train(
            network,
            data,
            recipe,
            findings_data=findings_data,
            out=out or Path("models") / network,
            ignore_labels=tuple(ignore_label or ()),
            on_bad_image=on_bad_image,
            how=table_options(columns, layout),
            backbone_weights=backbone_weights,
            checkpoint=checkpoint,
            checkpoint_batches=checkpoint_every,
            tensorboard=tensorboard,
            audit_every=audit_every,
            settings=settings,
            seed=seed,
        )
    )


train_command = with_some_settings(_train, lambda s: s.name in ("suite", "detector", "boxes"))


def _import(
    settings: Settings,
    file: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint (torch.save or safetensors), ONNX, .pt2 or TorchScript file, or a Hugging Face folder.",
            metavar="FILE",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Bundle folder; default models/ and the file's name.")] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Prefix of the network in the file, if it holds several, such as state_dict_ema.")
    ] = None,
    head: Annotated[
        list[str] | None, typer.Option(help="Name in the file of the linear layer that gives the outputs; repeatable.")
    ] = None,
    admit: Annotated[
        list[str] | None, typer.Option(help="Package whose classes may be read as inert shells; repeatable.")
    ] = None,
) -> None:
    """Convert a foreign model or checkpoint to a bundle; no code of the file runs without --trust."""
    from audit.commands import importing

    folder = out or Path("models") / re.split(r"[.:]", file.name)[0]
    raise typer.Exit(
        importing.bring_in(
            replace(settings, model=str(file)),
            file,
            folder,
            prefix=prefix,
            head=tuple(head or ()),
            admit=tuple(admit or ()),
        )
    )


import_command = with_some_settings(_import, lambda s: s.section == "model" or s.name == "task")


@data_app.command("build")
def data_build_command(
    name: Annotated[
        str,
        typer.Argument(
            help="chestxray14, covid-chestxray-dataset, chexpert, montgomery, shenzhen, covid (as the paper selected them); "
            "nih, mimic-cxr-jpg, padchest, vindr, rsna (all images)."
        ),
    ],
    root: Annotated[Path, typer.Option(help="Folder into which the publisher's archive was unpacked.")],
    out: Annotated[Path | None, typer.Option(help="Manifest to write; default NAME.csv.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="Text file of images to leave out, one name per line.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of draws and splits.")] = 0,
) -> None:
    """Build a manifest from a published data set; covid joins four data sets, as the paper did."""
    from audit.commands import data

    raise typer.Exit(data.build(name, root, out or Path(f"{name}.csv"), exclude=exclude, seed=seed))


def demo_command(
    out: Annotated[
        Path | None, typer.Option(help="Folder for all output of the demo; default: demo, or demo-skin.")
    ] = None,
    kind: Annotated[
        DemoKind, typer.Option(help="chest (radiographs with words) or skin (photographs in colour with stickers).")
    ] = "chest",
    association: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Strength of the association between words (stickers) and classes, 0 to 1."
        ),
    ] = 0.9,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
) -> None:
    """Make synthetic images with a planted shortcut, train a small network on them and audit it."""
    from audit.commands import demo

    folder = out or Path("demo" if kind == "chest" else "demo-skin")
    command = ["audit", *sys.argv[1:]]
    run = demo.chest if kind == "chest" else demo.skin
    raise typer.Exit(run(folder, association=association, seed=seed, command=command))


def curves_command(
    models: Annotated[list[str], typer.Argument(help="Bundles: names in models/, or folders.", metavar="MODEL...")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("curves.html"),
) -> None:
    """Draw the test accuracy of several networks by training phase, and their confusion matrices."""
    from audit.commands import training

    raise typer.Exit(training.curves(models, out))
