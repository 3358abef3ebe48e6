"""`audit run --emit`: images for a product that cannot be loaded, and how its audit goes on."""

from __future__ import annotations

import shlex
import sys

from audit.commands.keys import announce_key
from audit.commands.models import image_lines, model_lines
from audit.commands.progress import ProgressLines
from audit.commands.tables import TableTeller
from audit.data.strings import shown_string
from audit.models.recorded import WITHOUT_MAPS
from audit.run.settings import Settings
from audit.run.shares import check_whole
from audit.store.emission import IMAGES
from audit.store.numbers import counted
from audit.store.serialise import printed_json


def emit(settings: Settings, *, as_json: bool) -> int:
    """Write the images and the table, and print what to do next; return the exit code."""
    from audit.run.emission import emit_images

    check_whole(settings, "writing the images")
    announce_key(settings)
    with ProgressLines(quiet=as_json) as on_stage:
        table = TableTeller(on_stage)
        found = emit_images(
            settings,
            on_stage=on_stage,
            on_table=table,
            on_model=lambda bundle: on_stage.say(model_lines(bundle)),
            on_cohort=lambda cohort, bundle: on_stage.say(image_lines(cohort, bundle)),
        )
    folder, emission = found.folder, found.emission
    if as_json:
        document = {
            "emission": folder.path,
            "images": folder.path / IMAGES,
            "answers": folder.answers,
            "classes": emission.classes,
            "n_images": emission.n_images,
            "n_originals": emission.n_records,
            "n_conditions": found.n_conditions,
            "table": table.document,
            "exit_code": 0,
        }
        sys.stdout.write(printed_json(document))
        return 0
    were = "were written" if found.is_new else "are there already; none was written"
    names = ", ".join(shown_string(name) for name in emission.classes)
    sys.stdout.write(
        f"{counted(emission.n_images, 'image')} {were}: {counted(emission.n_records, 'original')} under "
        f"{counted(found.n_conditions, 'condition')}; equal images are one file.\n"
        f"Give the product the folder {folder.path / IMAGES}, and fill its answers into {folder.answers}: one "
        f"{'logit' if settings.answers == 'logits' else 'probability'} for each of {names}.\n"
        f"No further images will be needed. {WITHOUT_MAPS}\n"
        f"Then repeat the command with {shlex.join(['--predictions', str(folder.answers)])} added.\n"
        f"{folder.answers}\n"
    )
    return 0
