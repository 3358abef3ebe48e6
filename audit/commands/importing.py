"""`audit import`: convert a foreign checkpoint or model to a bundle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.commands.models import opened_lines
from audit.data.tasks import Task
from audit.errors import UsageError
from audit.files import file_sha256
from audit.models.backbones import quoted
from audit.models.checkpoints import import_checkpoint
from audit.models.foreign import shown
from audit.models.kinds import open_directly, with_kind
from audit.models.networks import ARCHITECTURES, library_networks
from audit.models.opening import bundle_of
from audit.models.outputs import ORDERS
from audit.models.parity import check_parity
from audit.models.saving import save_opened
from audit.run.requested import requested_model
from audit.run.setting import declared_settings
from audit.run.settings import Settings

_MEANING: Mapping[Task, str] = {
    "single-label": "task: single-label (softmax: exactly one class applies to an image)",
    "binary": "task: binary (one sigmoid for two classes)",
    "multi-label": "task: multi-label (a sigmoid for each finding); `audit run` judges each output, and `audit train D` and `E` can start "
    "from it with --checkpoint",
}
_TAKEN = frozenset({"kind", "classes", "input_px", "scale", "trust"})
"""What the way of the paper's checkpoints takes of [model], and a permission that it does not need."""


def bring_in(
    settings: Settings,
    file: Path,
    out: Path,
    *,
    prefix: str | None,
    head: tuple[str, ...],
    admit: tuple[str, ...],
) -> int:
    """Convert a checkpoint or model, state what every output is taken for, and what can be done with it; the path is the last line."""
    if settings.kind in ARCHITECTURES:
        return _checkpoint(settings, file, out, prefix=prefix, head=head, admit=admit)
    if prefix or head or admit:
        raise UsageError(
            "--prefix, --head and --admit are for checkpoints of the DenseNets, --as densenet121. Omit them."
        )
    request = with_kind(requested_model(settings))
    if not request.kind:
        raise UsageError(
            f"{file} is no model that `audit import` knows. Name what it is with --as: onnx, pt2, torchscript, hf, timm:NAME, "
            "torchvision:NAME, torchxrayvision:NAME, monai:NAME, package.module:function or densenet121."
        )
    opened = open_directly(request)
    bundle = bundle_of(request, opened)
    parity = check_parity(bundle, Path(settings.check)) if settings.check else None
    provenance: dict[str, Any] = {"imported_from": file.name} | (
        {"imported_sha256": file_sha256(file)} if file.is_file() else {}
    )
    if opened.assumed:  # whoever audits the bundle later reads it, too
        provenance["assumed"] = list(opened.assumed)
    save_opened(out, opened, request, provenance=provenance, parity=parity)
    lines = [*opened_lines(bundle), _MEANING[bundle.task or "single-label"]]
    if parity is not None:
        lines.append(
            f"parity: {parity.n_images} images differ by at most {parity.largest:.1e} (limit {parity.limit:g})"
        )
    sys.stdout.write("".join(f"{line}\n" for line in [*lines, str(out)]))
    return 0


def _check_taken(settings: Settings) -> None:
    """Refuse what the way of the paper's checkpoints does not take: it would be lost without a word.

    Raises
    ------
    UsageError
        If any is given.
    """
    given = [
        setting.flag
        for setting in declared_settings().values()
        if setting.section == "model"
        and setting.name not in _TAKEN
        and getattr(settings, setting.name) != setting.default
    ]
    if len(set(settings.input_px)) > 1:
        given.append(f"--input-px {','.join(map(str, settings.input_px))}")
    if given:
        raise UsageError(
            f"`audit import --as {settings.kind}` takes --classes, --task, --scale and one side as --input-px, and does not take "
            f"{' and '.join(given)}. Use --as torchvision:{settings.kind}, which takes all of them."
            if settings.kind in library_networks()
            else f"`audit import --as {settings.kind}` does not take {' and '.join(given)}. Omit it."
        )


def _checkpoint(
    settings: Settings,
    file: Path,
    out: Path,
    *,
    prefix: str | None,
    head: tuple[str, ...],
    admit: tuple[str, ...],
) -> int:
    _check_taken(settings)
    asked = settings.classes
    order = None if not asked else ORDERS.get(asked[0], asked) if len(asked) == 1 else asked
    input_px = settings.input_px[0] if settings.input_px else 224
    made = import_checkpoint(
        file,
        settings.kind,
        out,
        classes=order,
        task=settings.task or None,
        input_px=input_px,
        scale=settings.scale or None,
        prefix=prefix,
        head=head,
        admit=admit,
    )
    order_note = "" if asked else f" ({made.class_order}; if this order is wrong, import again with --classes)"
    scale_note = "" if settings.scale else " (if training used another scale, import again with --scale)"
    lines = [
        f"network: {', '.join(map(shown, made.heads))}"
        + (f" on the features under '{shown(made.prefix)}'" if made.prefix else ""),
        *([f"left out: {quoted(made.left_out)}"] if made.left_out else []),
        f"outputs, in order: {', '.join(map(shown, made.classes))}{order_note}",
        f"input: {input_px} x {input_px} pixels, scale {made.scale}{scale_note}",
        _MEANING[made.task],
        str(made.folder),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0
