"""The command line: it reads what is asked for, and leaves the work to `audit.commands`."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from audit.cli_baseline import baseline_app
from audit.cli_text import BOXES, Json, text_app
from audit.errors import AuditError

if TYPE_CHECKING:
    from audit.config import Settings

# rich strips colours for NO_COLOR by itself, but typer forces terminal codes on some CI machines.
if os.environ.get("NO_COLOR"):
    os.environ.setdefault("_TYPER_FORCE_DISABLE_TERMINAL", "1")

app = typer.Typer(
    help="Does the network read the picture, or the labels printed on it and the place where it was taken?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 pass, 1 a gate failed, 2 wrong use, 3 inconclusive, 4 could not complete, 130 interrupted.",
)

data_app = typer.Typer(help="Turn published data sets into manifests.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

app.add_typer(text_app, name="text")

app.add_typer(baseline_app, name="baseline")

BaselineOption = Annotated[
    Path | None,
    typer.Option(help="Run folder, or file of audit baseline accept, that max_increase and max_decrease compare with."),
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]


ModelOption = Annotated[str | None, typer.Option(help="Bundle: NAME for models/NAME, or a folder.")]
DataOption = Annotated[str | None, typer.Option(help="Manifest (CSV or Parquet); default: the one it was trained on.")]
SplitOption = Annotated[str | None, typer.Option(help="auto, test, train, validation or all.")]
SuiteOption = Annotated[str | None, typer.Option(help="quick, standard, full, or a TOML file.")]
FinderOption = Annotated[
    str | None, typer.Option(help="Text finder: cascade, rapidocr, markers, easyocr or annotated.")
]
BoxesOption = Annotated[str | None, typer.Option(help=BOXES)]
IgnoreOption = Annotated[list[str] | None, typer.Option(help="A label that is not part of the task; repeatable.")]
BadImageOption = Annotated[str | None, typer.Option(help="fail, or skip and count.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed of every draw and resample.")]
MapsOption = Annotated[int | None, typer.Option(help="Images that get an LRP map; 0 for none.")]
PresetOption = Annotated[str | None, typer.Option(help="LRP preset, or gradient-x-input or occlusion.")]
StartOption = Annotated[str | None, typer.Option(help="Where relevance starts: winner, a class, or a contrast A-B.")]
CacheOption = Annotated[str | None, typer.Option(help="Folder of the text cache.")]


@app.command("run")
def run_command(
    model: ModelOption = None,
    data: DataOption = None,
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
    judge_images: Annotated[int | None, typer.Option(help="Images that EasyOCR judges the finder on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that find text and predict.")] = None,
    runs: Annotated[str | None, typer.Option(help="Folder for run folders.")] = None,
    cache: CacheOption = None,
    gate: Annotated[bool, typer.Option("--gate", help="Judge, by the default rules if none are configured.")] = False,
    baseline: BaselineOption = None,
    as_json: Json = False,
) -> None:
    """Audit a model: edit its test images, measure what moves, write the report."""
    settings = _settings(
        model=model,
        data=data,
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
    )
    if baseline is not None:
        settings = replace(settings, gate={**(settings.gate or {}), "baseline": str(baseline)})
    from audit.commands import auditing

    raise typer.Exit(
        auditing.run(settings, gate=gate or baseline is not None, as_json=as_json, command=["audit", *sys.argv[1:]])
    )


@app.command("plan")
def plan_command(
    model: ModelOption = None,
    data: DataOption = None,
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
    sheet: Annotated[Path | None, typer.Option(help="PNG to draw every condition on, on a film of each class.")] = None,
    as_json: Json = False,
) -> None:
    """Say what audit run would do, and what it would cost, without doing it."""
    settings = _settings(
        model=model,
        data=data,
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
    )
    from audit.commands import planning

    raise typer.Exit(planning.plan(settings, sheet=sheet, as_json=as_json))


def _settings(*, ignore_label: list[str] | None, **given: Any) -> Settings:
    """Lay what the command line gave over the other settings."""
    from audit.config import load_settings

    settings = load_settings({**given, "ignore_label": tuple(ignore_label) if ignore_label else None}, Path())
    if not settings.model:
        raise typer.BadParameter("no model is named; give --model NAME, or set model in [run] of audit.toml")
    return settings


@app.command("train")
def train_command(
    network: Annotated[str, typer.Argument(help="Network of the paper, A to E, or chexnet.", metavar="NETWORK")],
    data: Annotated[Path, typer.Option(help="Manifest with class labels.")],
    recipe: Annotated[str, typer.Option(help="paper, real-small, demo, or a TOML file.")] = "real-small",
    findings_data: Annotated[Path | None, typer.Option(help="Manifest of the findings step; default: --data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Bundle folder; default models/NETWORK.")] = None,
    ignore_label: Annotated[
        list[str] | None, typer.Option(help="A label that is not part of the task; repeatable.")
    ] = None,
    on_bad_image: Annotated[str, typer.Option(help="fail, or skip and count.")] = "fail",
    backbone_weights: Annotated[Path | None, typer.Option(help="File of torchvision's ImageNet weights.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Bundle that D and E start from; default models/chexnet.")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Batches between checkpoints to resume from.")] = 200,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's files.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of splits, initial weights and augmentation.")] = 0,
) -> None:
    """Train a network through its whole chain, and write its bundle; the same command resumes after a kill."""
    from audit.commands import training

    if on_bad_image not in ("fail", "skip"):
        raise typer.BadParameter(f"--on-bad-image must be fail or skip, found {on_bad_image!r}")
    raise typer.Exit(
        training.train(
            network,
            data,
            recipe,
            findings_data=findings_data,
            out=out or Path("models") / network,
            ignore_labels=tuple(ignore_label or ()),
            on_bad_image="skip" if on_bad_image == "skip" else "fail",
            backbone_weights=backbone_weights,
            checkpoint=checkpoint,
            checkpoint_batches=checkpoint_every,
            tensorboard=tensorboard,
            seed=seed,
        )
    )


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="Checkpoint written by torch.save, or safetensors.", metavar="FILE")],
    architecture: Annotated[str, typer.Option("--as", help="densenet121, densenet169, densenet201.")],
    out: Annotated[Path | None, typer.Option(help="Bundle folder; default models/ and the file's name.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class of each output, a,b,c; or paper, chexnet, chestxray15, torchxrayvision.")
    ] = None,
    input_px: Annotated[int, typer.Option(min=32, max=4096, help="Side of the square input.")] = 224,
    admit: Annotated[
        list[str] | None, typer.Option(help="Package whose classes may be read as inert shells; repeatable.")
    ] = None,
) -> None:
    """Convert a foreign checkpoint to a bundle, without running code from it."""
    from audit.commands import importing

    folder = out or Path("models") / file.name.split(".")[0]
    raise typer.Exit(
        importing.bring_in(file, architecture, folder, classes=classes, input_px=input_px, admit=tuple(admit or ()))
    )


@data_app.command("build")
def data_build_command(
    name: Annotated[
        str, typer.Argument(help="chestxray14, covid-chestxray-dataset, chexpert, montgomery, shenzhen, covid.")
    ],
    root: Annotated[Path, typer.Option(help="Folder into which the publisher's archive was unpacked.")],
    out: Annotated[Path | None, typer.Option(help="Manifest to write; default NAME.csv.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="Text file of images to leave out, one name a line.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of draws and splits.")] = 0,
) -> None:
    """Turn a published data set into a manifest; covid joins four as the paper did."""
    from audit.commands import data

    raise typer.Exit(data.build(name, root, out or Path(f"{name}.csv"), exclude=exclude, seed=seed))


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo"),
    association: Annotated[float, typer.Option(min=0.0, max=1.0, help="How firmly words go with classes.")] = 0.9,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
) -> None:
    """Make synthetic radiographs with a planted shortcut, train a small C on them, audit it."""
    from audit.commands import training

    raise typer.Exit(training.demo(out, association=association, seed=seed, command=["audit", *sys.argv[1:]]))


@app.command("report")
def report_command(
    run: Annotated[list[Path], typer.Argument(help="A run folder; several with --compare.", metavar="RUN...")],
    compare: Annotated[bool, typer.Option("--compare", help="Put several runs side by side in one page.")] = False,
    out: Annotated[Path, typer.Option(help="Page that --compare writes.")] = Path("comparison.html"),
    signoff: Annotated[Path | None, typer.Option(help="Review that the report's page saved, to keep in it.")] = None,
) -> None:
    """Write report.html, summary.md and junit.xml of a finished run again, with a review, or compare runs."""
    from audit.commands import auditing

    if compare:
        if signoff is not None:
            raise typer.BadParameter("--signoff belongs to one run; give it without --compare")
        raise typer.Exit(auditing.compare(run, out))
    if len(run) != 1:
        raise typer.BadParameter(f"one run folder is expected, found {len(run)}; add --compare for several")
    raise typer.Exit(auditing.report(run[0], signoff=signoff))


@app.command("export")
def export_command(
    form: Annotated[str, typer.Argument(help="mlflow, model-card or cyclonedx.", metavar="FORM")],
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
) -> None:
    """Write a finished run in the form of another tool."""
    from audit.commands import export

    raise typer.Exit(export.export(form, run, out))


@app.command("curves")
def curves_command(
    models: Annotated[list[str], typer.Argument(help="Bundles: names in models/, or folders.", metavar="MODEL...")],
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("curves.html"),
) -> None:
    """Draw the test accuracy of several networks through their phases, with their confusion matrices."""
    from audit.commands import training

    raise typer.Exit(training.curves(models, out))


@app.command("gate")
def gate_command(
    run: RunArgument,
    baseline: BaselineOption = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML to write.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="SARIF file to write, for code scanning.")] = None,
    code_quality: Annotated[Path | None, typer.Option(help="GitLab code quality report to write.")] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations, and fill the step summary.")] = False,
    as_json: Json = False,
) -> None:
    """Judge a finished run by the gates of audit.toml."""
    from audit.commands import auditing
    from audit.config import load_settings

    if github and as_json:
        raise typer.BadParameter("--json prints one object and nothing else; leave out --github, or --json")
    outputs = auditing.GateOutputs(junit=junit, sarif=sarif, code_quality=code_quality, github=github)
    table = load_settings({}, Path()).gate
    raise typer.Exit(auditing.gate(run, table, outputs, baseline=baseline, as_json=as_json))


@app.command("diff")
def diff_command(
    run: RunArgument,
    other: Annotated[Path, typer.Argument(help="The run it is compared with.", metavar="BASELINE")],
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
) -> None:
    """Say how much larger every judged effect is than in another run of the same images, image by image."""
    from audit.commands import auditing

    raise typer.Exit(auditing.diff(run, other, as_json=as_json, as_markdown=as_markdown))


@app.command("verify")
def verify_command(run: RunArgument) -> None:
    """Check that every file of a run is as it was left."""
    from audit.commands import auditing

    raise typer.Exit(auditing.verify(run))


@app.command("list")
def list_command(
    kind: Annotated[str, typer.Argument(help="models, perturbations, suites, detectors, recipes or metrics.")],
) -> None:
    """List what is known by name."""
    from audit.commands import looking

    raise typer.Exit(looking.list_names(kind))


@app.command("doctor")
def doctor_command() -> None:
    """Say what is installed, and what an audit would lack."""
    from audit.commands import looking

    raise typer.Exit(looking.doctor())


class _Interrupted(BaseException):
    """Ctrl-C. Not KeyboardInterrupt, which the command line's library would answer in its own words."""


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Interrupted


def main() -> None:
    """Run the command line; every failure becomes one paragraph and its exit code."""
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except AuditError as error:
        _complain(str(error))
        raise SystemExit(error.exit_code) from None
    except _Interrupted:
        _complain("Interrupted. What was computed is kept; the same command goes on from there.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our output went away; that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except Exception as error:  # an uncaught error must never read as "gate failed", which is exit code 1
        if os.environ.get("AUDIT_DEBUG"):
            traceback.print_exc()
        _complain(
            f"The audit could not be completed: {type(error).__name__}: {error}. This is a fault of the program; with "
            "AUDIT_DEBUG=1 it prints where. What was computed is kept."
        )
        raise SystemExit(4) from None
    finally:
        signal.signal(signal.SIGINT, before)


def _complain(message: str) -> None:
    sys.stderr.write(f"audit: {message}\n")


if __name__ == "__main__":
    main()
