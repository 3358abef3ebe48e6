"""`audit run` and `audit plan` on the command line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.cli.runs import BaselineOption, must_exist
from audit.cli.text import BOXES, Json

if TYPE_CHECKING:
    from audit.run.settings import Settings

ModelOption = Annotated[str | None, typer.Option(help="Bundle: NAME for models/NAME, or a folder.")]
DataOption = Annotated[
    str | None, typer.Option(help="Manifest (CSV or Parquet); default: the manifest that the bundle was trained on.")
]
TaskOption = Annotated[str | None, typer.Option(help="single-label, for a bundle that does not state its task.")]
SplitOption = Annotated[str | None, typer.Option(help="auto, test, train, validation or all.")]
SuiteOption = Annotated[str | None, typer.Option(help="quick, standard, full, or a TOML file.")]
FinderOption = Annotated[
    str | None, typer.Option(help="Text finder: cascade, rapidocr, markers, easyocr or annotated.")
]
BoxesOption = Annotated[str | None, typer.Option(help=BOXES)]
IgnoreOption = Annotated[list[str] | None, typer.Option(help="Label that is not part of the task; repeatable.")]
BadImageOption = Annotated[str | None, typer.Option(help="fail, or skip and count unreadable images.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed of every draw and resample.")]
MapsOption = Annotated[int | None, typer.Option(help="Number of images with an LRP heatmap; 0 for none.")]
PresetOption = Annotated[str | None, typer.Option(help="LRP preset, or gradient-x-input or occlusion.")]
StartOption = Annotated[str | None, typer.Option(help="Where relevance starts: winner, a class, or a contrast A-B.")]
NameOption = Annotated[str | None, typer.Option(help="Name of the data in reports; default: first digits of its hash.")]
PlainOption = Annotated[
    bool | None, typer.Option("--plain-ids", help="Use ids instead of pseudonyms for images and patients.")
]
ShowOption = Annotated[bool | None, typer.Option("--show-text", help="Do not cover text that may identify a patient.")]
CacheOption = Annotated[str | None, typer.Option(help="Folder of the text cache.")]


def run_command(
    model: ModelOption = None,
    data: DataOption = None,
    task: TaskOption = None,
    split: SplitOption = None,
    suite: SuiteOption = None,
    detector: FinderOption = None,
    boxes: BoxesOption = None,
    ignore_label: IgnoreOption = None,
    on_bad_image: BadImageOption = None,
    seed: SeedOption = None,
    resamples: Annotated[int | None, typer.Option(help="Bootstrap resamples of patients.")] = None,
    relevance_images: MapsOption = None,
    relevance_preset: PresetOption = None,
    relevance_start: StartOption = None,
    judge_images: Annotated[
        int | None, typer.Option(help="Number of images on which EasyOCR checks the text finder.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes that find text and predict.")] = None,
    runs: Annotated[str | None, typer.Option(help="Folder for run folders.")] = None,
    cache: CacheOption = None,
    data_name: NameOption = None,
    plain_ids: PlainOption = None,
    show_text: ShowOption = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Apply gates; the default rules if none are configured.")
    ] = False,
    baseline: BaselineOption = None,
    as_json: Json = False,
) -> None:
    """Audit a model: edit its test images, measure the changes of its predictions, and write the report."""
    settings = _settings(
        model=model,
        data=data,
        task=task,
        split=split,
        suite=suite,
        detector=detector,
        boxes=boxes,
        ignore_label=ignore_label,
        on_bad_image=on_bad_image,
        seed=seed,
        resamples=resamples,
        relevance_images=relevance_images,
        relevance_preset=relevance_preset,
        relevance_start=relevance_start,
        judge_images=judge_images,
        workers=workers,
        runs=runs,
        cache=cache,
        data_name=data_name,
        plain_ids=plain_ids,
        show_text=show_text,
    )
    if baseline is not None:
        must_exist(baseline)
        settings = replace(settings, gate={**(settings.gate or {}), "baseline": str(baseline)})
    from audit.commands import auditing

    raise typer.Exit(
        auditing.run(settings, gate=gate or baseline is not None, as_json=as_json, command=["audit", *sys.argv[1:]])
    )


def plan_command(
    model: ModelOption = None,
    data: DataOption = None,
    task: TaskOption = None,
    split: SplitOption = None,
    suite: SuiteOption = None,
    detector: FinderOption = None,
    boxes: BoxesOption = None,
    ignore_label: IgnoreOption = None,
    on_bad_image: BadImageOption = None,
    seed: SeedOption = None,
    relevance_images: MapsOption = None,
    relevance_preset: PresetOption = None,
    relevance_start: StartOption = None,
    cache: CacheOption = None,
    data_name: NameOption = None,
    plain_ids: PlainOption = None,
    show_text: ShowOption = None,
    sheet: Annotated[
        Path | None, typer.Option(help="PNG file that shows every condition on an image of each class.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what `audit run` would do and how long it would take, without running it."""
    settings = _settings(
        model=model,
        data=data,
        task=task,
        split=split,
        suite=suite,
        detector=detector,
        boxes=boxes,
        ignore_label=ignore_label,
        on_bad_image=on_bad_image,
        seed=seed,
        relevance_images=relevance_images,
        relevance_preset=relevance_preset,
        relevance_start=relevance_start,
        cache=cache,
        data_name=data_name,
        plain_ids=plain_ids,
        show_text=show_text,
    )
    from audit.commands import planning

    raise typer.Exit(planning.plan(settings, sheet=sheet, as_json=as_json))


def _settings(*, ignore_label: list[str] | None, **given: Any) -> Settings:
    """Lay what the command line gave over the other settings."""
    from audit.run.settings import load_settings

    settings = load_settings({**given, "ignore_label": tuple(ignore_label) if ignore_label else None}, Path())
    if not settings.model:
        raise typer.BadParameter("no model is named; use --model NAME, or set model in [run] of audit.toml")
    return settings
