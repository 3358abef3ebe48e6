"""What Bassi & Attux (2021) report of their networks A to E on their own 150 test images, for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PAPER = "Bassi & Attux (2021)"
CLASSES = ("normal", "pneumonia", "covid")
"""The order of the paper's rows (true class) and columns (predicted class)."""
_ALL_RIGHT = ((50, 0, 0), (0, 50, 0), (0, 0, 50))
# The paper prints no matrix for these three; 50 images a class (its section 6.2), all classified correctly, leave one matrix.
_NO_ERROR = "section 9: 100\N{NO-BREAK SPACE}% of 150 test images, 50 a class; the paper prints no matrix"


@dataclass(frozen=True, kw_only=True)
class PaperNetwork:
    """One network of the paper."""

    name: str
    """A to E."""
    architecture: str
    """As its Table 1 names it."""
    training: str
    """As its Table 1 names it."""
    counts: tuple[tuple[int, ...], ...]
    """Test images, true classes by rows."""
    source: str
    """The table or section that the counts are from."""

    @property
    def accuracy(self) -> float:
        """Return the share of the test images that were classified correctly."""
        return sum(row[i] for i, row in enumerate(self.counts)) / sum(map(sum, self.counts))


_TWICE = "“twice transfer learning”"
NETWORKS: Mapping[str, PaperNetwork] = {
    "A": PaperNetwork(
        name="A",
        architecture="a 201-layer DenseNet",
        training="transfer learning",
        counts=((49, 0, 1), (0, 50, 0), (0, 0, 50)),
        source="Table 2",
    ),
    "B": PaperNetwork(
        name="B",
        architecture="a 201-layer DenseNet",
        training=_TWICE,
        counts=((50, 0, 0), (0, 50, 0), (0, 2, 48)),
        source="Table 3",
    ),
    "C": PaperNetwork(
        name="C",
        architecture="a 201-layer DenseNet",
        training=f"{_TWICE} and “output neuron keeping”",
        counts=_ALL_RIGHT,
        source=_NO_ERROR,
    ),
    "D": PaperNetwork(
        name="D", architecture="a 121-layer DenseNet (CheXNet)", training=_TWICE, counts=_ALL_RIGHT, source=_NO_ERROR
    ),
    "E": PaperNetwork(
        name="E",
        architecture="a 121-layer DenseNet (CheXNet)",
        training=f"{_TWICE} and “output neuron keeping”",
        counts=_ALL_RIGHT,
        source=_NO_ERROR,
    ),
}


def paper_network(name: object, classes: object) -> PaperNetwork | None:
    """Return the paper's network of a name; None where there is none, or where the classes are not the paper's."""
    same = isinstance(classes, (list, tuple)) and sorted(map(str, classes)) == sorted(CLASSES)
    return NETWORKS.get(name) if isinstance(name, str) and same else None


def counts_in_order(network: PaperNetwork, classes: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Return a network's counts with rows and columns in another order of the same classes."""
    places = [CLASSES.index(name) for name in classes]
    return tuple(tuple(network.counts[i][j] for j in places) for i in places)
