"""How the model was trained, according to its bundle."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.figures.training_charts import HEIGHT_PX, WIDTH_PX, training_charts
from audit.reports.findings.effect_words import without_folders
from audit.reports.findings.training_story import training_story
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.store.numbers import counted


def view(run: RunView) -> Mapping[str, object]:
    """Return the story of the training, with its charts."""
    story = training_story(run)
    epochs = f", {counted(len(story.epochs), 'epoch')}" if story.epochs else ""
    told = bool(story.facts or story.matrices or story.epochs)
    return {
        "result": f"{run.plan.model.architecture}{epochs}" if told else "the bundle contains no training record",
        "story": story,
        "facts": [(key, without_folders(value)) for key, value in story.facts],
        "architecture": run.plan.model.architecture,
        "charts": training_charts(story.epochs, story.phases),
        "width": WIDTH_PX,
        "height": HEIGHT_PX,
    }


SECTION = Section(
    name="training",
    title="Training",
    template="sections/training.html.j2",
    view=view,
    comes_from="plan.json: the bundle's training record (curves, phases, confusion matrix); next to it the paper's (Tables 2 and 3, "
    "section 9) if the bundle states that it is network A to E",
)
