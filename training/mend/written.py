"""The new bundle: written beside its place, held against the network that was trained, then moved there whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.data.bundle_record import BundleRecord
from audit.errors import ModelError, StoreError, UsageError
from audit.models.bundle import Bundle, load_bundle
from audit.models.bundle_files import read_record, read_splits
from audit.models.saving import save_changed
from audit.provenance import git_commit, tool_version, with_paths_from
from audit.run.cohorts import known_manifest
from audit.run.settings import Settings
from audit.store.mend import MendStory
from audit.store.serialise import plain
from audit.store.typed import FormatError, typed
from audit.training.mend.learnt import Learnt

SAME = 1e-3
"""Largest difference of a logit, relative to the largest, at which a bundle answers as the network that it was written of."""


def work_folder(out: Path) -> Path:
    """Return the folder of what is unfinished."""
    return out.with_name(f".{out.name}.mend")


def check_place(out: Path, old: Bundle) -> None:
    """Refuse a place that would touch the old bundle, or anything that is no mended bundle.

    Raises
    ------
    UsageError
        If it is one.
    """
    if old.folder is not None and out.resolve() == old.folder.resolve():
        raise UsageError(f"--out {out} is the bundle to mend, which is never changed. Name another folder.")
    if os.path.lexists(out) and read_story(out) is None:
        raise UsageError(f"--out {out} exists and is not a mended bundle. Name another folder.")


def read_story(out: Path) -> MendStory | None:
    """Return how a bundle was mended; None where there is none, or it was not."""
    if not (out / BundleRecord.FILE).is_file():
        return None
    try:
        return typed(read_record(out)[0].provenance.get("mend"), MendStory)
    except (ModelError, FormatError):
        return None


def write_mended(
    out: Path,
    old: Bundle,
    network: nn.Module,
    story: MendStory,
    learnt: Learnt,
    settings: Settings,
    sample: Sequence[NDArray[np.uint8]],
) -> Path:
    """Write the bundle of a mended network; it appears whole, or not at all.

    Parameters
    ----------
    out : Path
        Its folder; a bundle that was mended otherwise is replaced.
    old : Bundle
        Its parent, which is left as it is.
    network : nn.Module
        Of the form of the parent's network.
    story : MendStory
        Goes into the provenance.
    learnt : Learnt
        The images that it learnt from: an audit must know them again.
    settings : Settings
        Of the data.
    sample : sequence of uint8 (h, w)
        Images at input size on which the bundle is held against the network.

    Raises
    ------
    ModelError
        If the bundle does not answer as the network does.
    StoreError
        If it cannot be written.
    """
    draft = work_folder(out) / out.name
    shutil.rmtree(draft, ignore_errors=True)
    splits, pixels = _splits(old, learnt)
    save_changed(
        draft,
        old,
        network,
        provenance=_provenance(out, old, story, learnt, settings),
        metrics={},
        splits=splits,
        pixels=pixels,
    )
    check_same(load_bundle(draft, trust=settings.trust), network, sample)
    try:
        if out.exists():
            shutil.rmtree(out)
        draft.replace(out)
    except OSError as error:
        raise StoreError(f"Cannot write {out}: {error.strerror or error}. Choose a writable folder.") from error
    return out


def check_same(bundle: Bundle, network: nn.Module, sample: Sequence[NDArray[np.uint8]]) -> None:
    """Refuse a bundle that answers otherwise than the network that it was written of.

    Raises
    ------
    ModelError
        If a logit differs by more than `SAME`, relative to the largest.
    """
    inputs = torch.stack([bundle.preprocessing.normalise(image) for image in sample])
    with torch.inference_mode():
        wanted = torch.as_tensor(network(inputs)).float()
    found = bundle.logits(inputs).float()
    apart = float((found - wanted).abs().max()) if found.shape == wanted.shape else float("inf")
    if not apart <= SAME * max(1.0, float(wanted.abs().max())):
        raise ModelError(
            f"The bundle of the mended network does not answer as the network that was trained: logits differ by up to {apart:.3g} on "
            f"{len(sample)} validation images. Nothing was written; the old bundle is unchanged. Its last layer may have no bias, or it "
            "has weights that no bundle holds: use --method augment."
        )


def _provenance(out: Path, old: Bundle, story: MendStory, learnt: Learnt, settings: Settings) -> Mapping[str, Any]:
    """Return the parent's provenance with its paths from the new folder, and the story."""
    assert old.folder is not None
    told = {key: value for key, value in old.provenance.items() if key != "mend"}
    found = with_paths_from(told, old.folder, out)
    if "manifest" not in found:  # of a foreign network: what it was mended with
        manifest, ignored, how = known_manifest(old, settings)
        found |= {"manifest": os.path.relpath(manifest, out), "ignore_labels": sorted(ignored)}
        found |= {"columns": dict(how.columns)} if how.columns else {}
        found |= {"layout": how.layout}
        found["cohort_hash"] = learnt.cohort.content_hash
    return {**found, "mend": plain(story), "mended_by": {"tool_version": tool_version(), "git_commit": git_commit()}}


def _splits(old: Bundle, learnt: Learnt) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parent's splits and pixels, with the images that the network was mended with."""
    assert old.folder is not None
    rows = read_splits(old.folder)
    splits = {row["id"]: row["split"] for row in rows}
    pixels = {row["id"]: row["pixels"] for row in rows if row.get("pixels")}
    known = set(pixels.values())
    for name, split in learnt.splits.items():
        here = learnt.cohort.pixels[name]
        if here not in known:
            # Another image may have the same name in other data.
            key = name if name not in splits or name not in pixels else f"{name} ({here[:8]})"
            splits[key], pixels[key] = split, here
    return splits, pixels
