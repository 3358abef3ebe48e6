"""The pictures of one image under one condition, drawn when somebody looks: read again, edited again from the same seeds.

What a page may not show never leaves this module: text is covered as in the report, and why a picture is missing is said without the
name of a file. The full reason goes to whoever started the page.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.data.strings import shown_string
from audit.errors import AuditError, ImageError, StoreError
from audit.models.backends import LIMIT
from audit.models.bundle import Bundle
from audit.models.recorded import NOT_LOADED, WITHOUT_MAPS
from audit.models.torch_classifier import one_thread
from audit.prediction.shards import predict_scene
from audit.prediction.table import FinishedRun
from audit.prediction.variants import Variant
from audit.run.edit_inputs import OtherVersionError
from audit.run.overlays import Overlays
from audit.run.revisited import Revisited, revisit
from audit.run.run_inputs import OtherKeyError, UnknownManifestError, model_of
from audit.run.settings import Settings
from audit.run.thumbnails import difference_of
from audit.statistics.outputs import probabilities_of
from audit.viewing.cases import Case, CaseRow

Kind = Literal["clean", "edit", "placebo", "difference", "relevance"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_KEPT = 48
"""Pictures in memory: a case has five, and readers go back and forth."""
_TOLD = "The terminal in which this page was started says more."


class NotDrawnError(AuditError):
    """A picture cannot be drawn; the message may stand on the page."""


class CasePictures:
    """Draws the pictures of a run's images.

    Parameters
    ----------
    finished : FinishedRun
        The run.
    settings : Settings
        Where its manifest and its model are.
    tell : callable
        Called with the full reason why a picture is missing, each once.
    live : object, optional
        The model itself, where Python code hands it over.
    """

    def __init__(
        self,
        finished: FinishedRun,
        settings: Settings,
        tell: Callable[[str], object] = lambda reason: None,
        live: object = None,
    ) -> None:
        self._finished, self._settings, self._tell, self._live = finished, settings, tell, live
        self._told: set[str] = set()
        self._revisited: Revisited | None = None
        self._model: tuple[Bundle, Overlays] | None = None
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        # What edits know of the cohort is measured once; two pages at a time must not measure it twice.
        self._lock = RLock()

    def draw(self, case: Case, kind: Kind, row: CaseRow | None = None) -> bytes:
        """Return a picture as PNG, at the size of the image; relevance is a transparent map of any size, to be stretched over it.

        Parameters
        ----------
        case : Case
            The image.
        kind : {"clean", "edit", "placebo", "difference", "relevance"}
            What is drawn.
        row : CaseRow, optional
            Condition and draw of the edit.

        Raises
        ------
        NotDrawnError
            If it cannot be drawn.
        """
        key = (case.place, kind, row and row.condition, row and row.draw)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._relevance(case) if kind == "relevance" else _png(self._pixels(case, kind, row))
                if len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def check(self, case: Case, row: CaseRow | None) -> tuple[bool | None, str]:
        """Compare an image and an edit, drawn again, with what the run recorded of them.

        Returns
        -------
        tuple of (bool or None, str)
            Whether they are the same, None where that is unknown; and the same in a sentence.
        """
        with self._lock:
            try:
                return self._checked(case, row)
            except NotDrawnError as error:
                return None, str(error)

    def _checked(self, case: Case, row: CaseRow | None) -> tuple[bool | None, str]:
        run = self._run()
        record = run.records[case.place]
        changed = (
            "The image has changed since the run, or one that its edit uses: what is drawn here is not what was predicted. Run the audit "
            "again, or restore the files."
        )
        with self._safely():
            if not run.in_order(case.place):
                return False, changed
            shown = [run.variant(record, "clean", 0)]
            if row is not None and row.condition != "clean":
                edit = run.variant(record, row.condition, row.draw)
                if not _as_recorded(edit, row):
                    return False, changed
                shown.append(edit)
        try:
            bundle, _ = self._network()
        except NotDrawnError:
            bundle = None
        if bundle is None:
            # What an edit changed tells little of the image outside of it; what all of them changed tells more.
            with self._safely():
                others = [r for r in case.rows if r.draw == 0 and r.condition != "clean"]
                if not all(_as_recorded(run.variant(record, r.condition, r.draw), r) for r in others):
                    return False, changed
            return True, (
                "Every edit of the image, drawn again, changes the same share of it as in the run. No prediction was computed again: the "
                "model is not here."
            )
        with one_thread(), self._safely():
            _, logits = predict_scene(bundle, shown)
        found = probabilities_of(logits, exclusive=self._finished.table.truth is None)
        stored = [case.row("clean"), row]
        gaps = [
            float(np.abs(again - np.array(list(kept.probabilities.values()))).max())
            for again, kept in zip(found, stored, strict=False)
            if kept is not None
        ]
        if max(gaps) > LIMIT:
            return False, (
                f"The prediction, computed again, differs from that of the run by {max(gaps):.3f}: the image or the network has changed "
                "since."
            )
        return True, "Edit and prediction were computed again and agree with the run."

    def _pixels(self, case: Case, kind: Kind, row: CaseRow | None) -> NDArray[np.uint8]:
        run = self._run()
        record = run.records[case.place]
        with self._safely():
            clean = run.variant(record, "clean", 0, shown=True).image
        if kind == "clean":
            return clean
        if row is None or row.condition == "clean":
            raise NotDrawnError("No edit is chosen.")
        wanted = case.placebo_of(row) if kind == "placebo" else row
        if kind == "placebo" and row.placebo is None:
            raise NotDrawnError("This condition has no placebo.")
        if wanted is None or not wanted.applied:
            raise NotDrawnError(
                f"{'The placebo' if kind == 'placebo' else 'This condition'} was not applied to this image: "
                f"{wanted.why_not if wanted else 'not in the run'}."
            )
        with self._safely():
            made = run.variant(record, wanted.condition, wanted.draw, shown=True)
        if made.why_not:
            raise NotDrawnError(
                f"It cannot be drawn with the text covered that may not be shown: {shown_string(made.why_not, 200)}. It was predicted "
                "with the text."
            )
        return difference_of(made.image, clean) if kind == "difference" else made.image

    def _relevance(self, case: Case) -> bytes:
        run = self._run()
        record = run.records[case.place]
        _, overlays = self._network()
        with self._safely():
            drawn = overlays.of(record, run.context.read(record), run.text.covered[record.id])
        if drawn is None:
            raise NotDrawnError(shown_string(overlays.why_none, 300))
        return drawn

    def _run(self) -> Revisited:
        if self._revisited is None:
            try:
                self._revisited = revisit(self._finished, self._settings)
            except OtherKeyError as error:
                raise self._missing(
                    error, "The images cannot be found: the key of the pseudonyms is not that of the run."
                ) from error
            except StoreError as error:
                raise self._missing(error, "The images cannot be found: a file of the run was edited.") from error
            except UnknownManifestError as error:
                raise self._missing(
                    error,
                    "The images cannot be found: the manifest of the run is unknown. Start this page with --data MANIFEST.",
                ) from error
            except AuditError as error:
                raise self._missing(
                    error, "The images cannot be found: the manifest was moved, is damaged, or is not that of the run."
                ) from error
        return self._revisited

    def _network(self) -> tuple[Bundle, Overlays]:
        if self._model is None:
            plan = self._finished.plan
            if plan.model.architecture == NOT_LOADED:
                raise NotDrawnError(WITHOUT_MAPS)
            try:
                bundle = model_of(self._finished.path, plan, self._settings, self._live)
            except AuditError as error:
                raise self._missing(
                    error,
                    "No heatmap: the model of the run was moved, or is another one. Start this page with --model MODEL.",
                ) from error
            with one_thread():
                self._model = bundle, Overlays(bundle, plan.relevance)
        return self._model

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """Turn what went wrong with a file into a sentence that names none."""
        try:
            yield
        except NotDrawnError:
            raise
        except ImageError as error:
            raise self._missing(error, "An image file that this picture needs was moved, or cannot be read.") from error
        except OtherVersionError as error:
            raise self._missing(
                error, "This edit was made by another version of audit, and cannot be drawn as it was."
            ) from error
        except AuditError as error:
            raise self._missing(error, "This picture cannot be drawn from the files of the run.") from error

    def _missing(self, error: AuditError, said: str) -> NotDrawnError:
        if (reason := str(error)) not in self._told:
            self._told.add(reason)
            self._tell(reason)
        return NotDrawnError(f"{said} {_TOLD}")


def _as_recorded(made: Variant, row: CaseRow) -> bool:
    """Say whether an edit, drawn again, is the one that the run predicted, by what it recorded of it."""
    return (bool(made.why_not), made.changed_share, made.donor) == (not row.applied, row.changed_share, row.donor)


def _png(image: NDArray[np.uint8]) -> bytes:
    """Return an image as PNG: without loss, since who zooms in looks at single pixels; and quickly, since the page is next door."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
