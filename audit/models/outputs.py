"""What the outputs of a foreign network are: the class of each, and whether they are a softmax or sigmoids."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from audit.data.bundle_record import MAX_CLASS_NAME, MAX_CLASSES
from audit.data.tasks import Task
from audit.errors import UsageError
from audit.models.backbones import Backbone
from audit.models.foreign import shown
from audit.models.heads import Head
from audit.models.pickle_names import Shell
from audit.models.states import States

CHEXNET = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # Zech's and arnoweng's reproductions of CheXNet have the same order.
        "chexnet": CHEXNET,
        "chestxray15": (*CHEXNET, "No Finding"),
        "torchxrayvision": (
            "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion",
            "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture",
            "Lung Opacity", "Enlarged Cardiomediastinum",
        ),
        # The order of the tables of Bassi & Attux (2021); their checkpoints do not say it.
        "paper": ("normal", "pneumonia", "covid"),
    }
)  # fmt: skip
"""Known orders of classes, for `--classes`."""
# Their networks answer with a sigmoid for each finding, the paper's with a softmax over three classes.
_KNOWN_TASKS: Mapping[str, Task] = MappingProxyType(
    {"chexnet": "multi-label", "chestxray15": "multi-label", "torchxrayvision": "multi-label", "paper": "single-label"}
)
_ACTIVATIONS: Mapping[str, Task] = MappingProxyType(
    {
        "torch.nn.modules.activation.Sigmoid": "multi-label",
        "torch.nn.modules.activation.LogSigmoid": "multi-label",
        "torch.nn.modules.activation.Softmax": "single-label",
        "torch.nn.modules.activation.LogSoftmax": "single-label",
    }
)
_ZECH_KEYS = frozenset({"model", "best_loss", "epoch", "rng_state", "LR"})


def name_outputs(
    asked: Sequence[str] | None, content: Any, states: States, backbone: Backbone, head: Head
) -> tuple[tuple[str, ...], str]:
    """Return the class of each output, and where the order comes from; the number of outputs alone names none.

    Raises
    ------
    UsageError
        If the outputs have no names, or the names do not fit them.
    """
    n_outputs = len(head.weight)
    said = _said_classes(states, backbone, head)
    if asked is not None:
        names, source = tuple(asked), "as asked"
    elif len(said) == n_outputs:
        names, source = said, "as the file says"
    else:
        order = _published(content, states, backbone, head)
        names, source = ORDERS.get(order, ()), f"as published for {order}"
    if len(names) != n_outputs:
        raise UsageError(
            f"The checkpoint has {n_outputs} outputs, but {len(names) or 'no'} classes are named. Name one per output, "
            f"in order, with --classes a,b,c or one of the orders {', '.join(ORDERS)}; an empty name drops its output."
        )
    _check_names(names)
    return names, source


def find_task(file: Path, asked: Task | None, states: States, head: Head, names: tuple[str, ...]) -> Task:
    """Return what the outputs mean: what the layer after the head shows, else what the user says, else what the names show.

    Raises
    ------
    UsageError
        If nothing shows it, or the user says something else than the file.
    """
    by_layers = _task_of_head(states, head)
    if asked is not None and by_layers is not None and asked != by_layers:
        raise UsageError(
            f"The checkpoint {file} is {by_layers} by its last layer, but --task {asked} was given. Omit --task."
        )
    task = by_layers or asked or task_of_names(names)
    if task is None:
        raise UsageError(
            f"The meaning of the outputs of {file} is unknown. Use --task single-label if exactly one class applies to each image "
            "(softmax), or --task multi-label if each output is a separate finding (sigmoid)."
        )
    return task


def task_of_names(names: Sequence[str]) -> Task | None:
    """Return the task of the networks that were published with an order of classes; None for names that follow none."""
    return next((task for order, task in _KNOWN_TASKS.items() if _follows(tuple(names), ORDERS[order])), None)


def is_torchxrayvision(states: States, backbone: Backbone, head: Head) -> bool:
    """Say whether a network is torchxrayvision's: by the class of its module, or by its own order of 18 outputs in the module."""
    shell = states.shells.get(backbone.prefix, Shell(kind=""))
    said = _said_classes(states, backbone, head)
    return shell.kind.startswith("torchxrayvision.") or _follows(said, ORDERS["torchxrayvision"])


def _published(content: Any, states: States, backbone: Backbone, head: Head) -> str:
    """Return the published order that belongs to both the names and the shape of a file; empty for none.

    Zech saved a module beside four values of his own. arnoweng's and zoogzog's network is called densenet121 in its module; the same
    name was used for CheXpert's 14 other classes from 2019 on, but by then batch normalisation counted its batches.
    """
    names = [name.removeprefix(backbone.prefix) for name in head.names]
    n_outputs = len(head.weight)
    if names == ["classifier.0.weight"] and n_outputs == len(CHEXNET):
        zech = isinstance(content, Mapping) and set(content) == _ZECH_KEYS and backbone.prefix == "model."
        counted = any(name.endswith("num_batches_tracked") for name in backbone.body)
        # The segment before the features, not a part of one, as in `mydensenet121.`.
        early = re.search(r"(^|\.)densenet121\.$", backbone.prefix) is not None and not counted
        return "chexnet" if zech or early else ""
    shell = states.shells.get(backbone.prefix, Shell(kind=""))
    theirs = shell.kind.startswith("torchxrayvision.") and n_outputs == len(ORDERS["torchxrayvision"])
    return "torchxrayvision" if theirs else ""


def _said_classes(states: States, backbone: Backbone, head: Head) -> tuple[str, ...]:
    """Return the class names that the network's module holds, as torchxrayvision's do; they are those of its own head."""
    shell = states.shells.get(backbone.prefix)
    if shell is None or not all(name.startswith(f"{backbone.prefix}classifier.") for name in head.names):
        return ()
    said = next((v for k in ("targets", "pathologies") if (v := shell.attributes.get(k))), ())
    return tuple(said) if isinstance(said, (list, tuple)) and all(isinstance(v, str) for v in said) else ()


def _follows(names: tuple[str, ...], order: tuple[str, ...]) -> bool:
    """Say whether names are those of an order, some of them perhaps dropped."""
    return len(names) == len(order) and all(name in ("", usual) for name, usual in zip(names, order, strict=True))


def _task_of_head(states: States, head: Head) -> Task | None:
    """Look for a sigmoid or softmax next to the head or around it; if there are several heads, only in the head's own row."""
    for name in head.names:
        around = name.removesuffix("weight").removesuffix(".").split(".")[:-1]
        for depth in range(len(around), -1, -1):
            shell = states.shells.get("".join(f"{part}." for part in around[:depth]))
            inside = shell.attributes.get("_modules") if shell is not None else None
            layers = inside.values() if isinstance(inside, dict) else ()
            found = {_ACTIVATIONS[v.kind] for v in layers if isinstance(v, Shell) and v.kind in _ACTIVATIONS}
            if found:
                return found.pop() if len(found) == 1 else None
            if head.left_out:
                break
    return None


def _check_names(names: tuple[str, ...]) -> None:
    given = [name for name in names if name]
    if len(names) > MAX_CLASSES:
        raise UsageError(f"A network may have at most {MAX_CLASSES} outputs, found {len(names)}.")
    long = next((name for name in given if len(name) > MAX_CLASS_NAME), None)
    if long is not None:
        raise UsageError(f"A class may have at most {MAX_CLASS_NAME} characters, found {shown(long)}.")
    if len({name.strip().casefold() for name in given}) < len(given) or len(given) < 2:
        raise UsageError(
            f"At least two different classes are needed, each named once; found {', '.join(map(shown, given[:20])) or 'none'}."
        )
