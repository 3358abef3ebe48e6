"""`audit demo`: synthetic images with a planted shortcut, a small network that learns it, and the audit that finds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.commands import auditing
from audit.commands.keys import announce_key
from audit.commands.models import image_lines
from audit.commands.progress import ProgressLines
from audit.commands.training import training_listener
from audit.errors import UsageError
from audit.run.settings import Settings
from audit.training.chain import train_network
from audit.training.phantom.cohort import make_phantoms
from audit.training.phantom.skin import RULER_SHARE, STICKER_CLASS, make_skin
from audit.training.recipes import load_recipe
from audit.training.skin import train_skin

# Enough for a verdict within minutes; the parameters of the planted shortcut are the demo's subject, not its size.
IMAGES_PER_CLASS = 150
FINDINGS_IMAGES = 240
SKIN_PER_CLASS = 160


def chest(out: Path, *, association: float, seed: int, command: Sequence[str]) -> int:
    """Make radiographs with words, train a small C on them, audit it; the report's path is the last line."""
    _check_folder(out)
    announce_key(Settings())
    with ProgressLines() as on_stage:
        step = on_stage("making radiographs", FINDINGS_IMAGES + 3 * IMAGES_PER_CLASS)
        findings = make_phantoms(
            out / "findings",
            task="findings",
            n_images=FINDINGS_IMAGES,
            seed=seed + 1,
            on_image=lambda done, total: step(),
        )
        images = make_phantoms(
            out / "images",
            task="classes",
            n_images=3 * IMAGES_PER_CLASS,
            seed=seed,
            word_association=association,
            source_association=association / 2,
            on_image=lambda done, total: step(),
        )
        folder = train_network(
            "C",
            images,
            load_recipe("demo"),
            out / "models" / "C",
            findings_manifest=findings,
            seed=seed,
            on_progress=training_listener(on_stage),
        )
        return _audited(out, folder, images, on_stage, seed=seed, command=command)


def skin(out: Path, *, association: float, seed: int, command: Sequence[str]) -> int:
    """Make photographs of skin with stickers, train a small network on their colours, audit it; the report's path is the last line."""
    _check_folder(out)
    announce_key(Settings())
    with ProgressLines() as on_stage:
        on_stage.say(
            [
                f"planted: a blue sticker, which tells the class {STICKER_CLASS} with a strength of {association:g} (0 to 1)",
                f"shown by all classes alike: rulers ({RULER_SHARE:.0%} of the images), ink, hair, two cameras".replace(
                    "%", " %"
                ),
            ]
        )
        step = on_stage("making photographs", 2 * SKIN_PER_CLASS)
        images = make_skin(
            out / "skin",
            n_images=2 * SKIN_PER_CLASS,
            seed=seed,
            sticker_association=association,
            on_image=lambda done, total: step(),
        )
        folder = train_skin(images, out / "models" / "skin", seed=seed, on_progress=training_listener(on_stage))
        return _audited(out, folder, images, on_stage, seed=seed, command=command)


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out must be a folder, but {out} is a file.")


def _audited(
    out: Path, folder: Path, images: Path, on_stage: ProgressLines, *, seed: int, command: Sequence[str]
) -> int:
    from audit.run.pipeline import run_audit

    settings = Settings(
        model=str(folder),
        data=str(images),
        runs=str(out / "runs"),
        models=str(out / "models"),
        cache=str(out / "cache"),
        seed=seed,
        data_name="phantoms",
    )
    path, verdict = run_audit(
        settings,
        judge_gates=True,
        command=command,
        on_stage=on_stage,
        on_cohort=lambda cohort, bundle: on_stage.say(image_lines(cohort, bundle)),
        on_fact=lambda sentence: on_stage.say([sentence]),
    )
    written = on_stage("writing the report", 1)
    report = auditing.render(path)
    written()
    auditing.show(path, verdict, report, as_json=False)
    return 0
