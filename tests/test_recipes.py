from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import UnknownNameError, UsageError
from audit.training.recipes import Phase, Recipe, Step, load_recipe, recipe_names

GOOD = """
name = "mine"
about = "a test"
expected = "nothing"
cost = "nothing"
architecture = "densenet-small"
input_px = 64
test_per_class = 4

[findings]
batch = 4
optimiser = "sgd"
momentum = 0.9
validation_share = 0.25
phases = [{ name = "head", trains = "head", epochs = 1, rate = 1 }]

[classes]
batch = 4
optimiser = "adamw"
validation_share = 0.25
augmentation = { rotation_deg = 40, shift_share = 0.125, flip_share = 0.5 }
copies = { normal = 30, covid = 24 }

[[classes.phases]]
name = "head"
trains = "head"
epochs = 1
rate = 1e-3
weight_decay = 0.01

[[classes.phases]]
name = "all"
trains = "all"
epochs = 48
rate = 1e-4
rate_factor_per_block = 0.1
patience = 20
"""


def read(tmp_path: Path, text: str) -> Recipe:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return load_recipe(str(file))


def test_every_key_arrives(tmp_path: Path) -> None:
    recipe = read(tmp_path, GOOD)
    assert (recipe.name, recipe.input_px, recipe.test_per_class) == ("mine", 64, 4)
    assert recipe.findings.momentum == 0.9 and recipe.findings.augmentation.rotation_deg == 0
    assert recipe.findings.phases == (Phase(name="head", trains="head", epochs=1, rate=1.0),)
    assert isinstance(recipe.findings.phases[0].rate, float)
    assert recipe.classes.augmentation.shift_share == 0.125 and recipe.classes.copies == {"normal": 30, "covid": 24}
    assert recipe.classes.phases[0].patience is None
    assert recipe.classes.phases[1] == Phase(
        name="all", trains="all", epochs=48, rate=1e-4, rate_factor_per_block=0.1, patience=20
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("input_px", "imput_px", r"field imput_px.*did you mean 'input_px'"),
        ("optimiser = \"adamw\"", "optimizer = \"adamw\"", r"classes has a field optimizer.*'optimiser'"),
        ("patience = 20", "patients = 20", r"classes\.phases\[1\] has a field patients.*'patience'"),
        ("flip_share", "flip_chance", r"classes\.augmentation has a field flip_chance"),
        ("\"adamw\"", "\"adamv\"", r"classes\.optimiser must be adamw or sgd, found 'adamv'"),
        ("\"densenet-small\"", "\"densenet-smal\"", r"architecture.*'densenet-small'"),
        ("batch = 4\noptimiser = \"adamw\"", "optimiser = \"adamw\"", r"classes has no batch"),
        ("input_px = 64", "input_px = \"64\"", r"input_px must be an integer, found '64'"),
        ("input_px = 64", "input_px = 64.5", r"input_px must be an integer, found 64\.5"),
        ("input_px = 64", "input_px = true", r"input_px must be an integer, found True"),
        ("input_px = 64", "input_px = 8", r"between 64 and 4096, found 8"),
        ("epochs = 48", "epochs = 0", r"phase all .*epochs must be at least 1, found 0"),
        ("rate = 1e-4", "rate = -1.0", r"rate must be above 0"),
        ("rate = 1e-4", "rate = nan", r"rate must be above 0"),
        ("rate_factor_per_block = 0.1", "rate_factor_per_block = 10", r"rate_factor_per_block must be in \(0, 1\]"),
        ("covid = 24", "covid = 0", r"copies must be whole numbers from 1"),
        ("rotation_deg = 40", "rotation_deg = 400", r"rotation_deg must lie between 0 and 180"),
        ("{ normal = 30, covid = 24 }", "3", r"copies must be an object, found 3"),
        ("phases = [{", "phases = [] #", r"phases must be at least one phase"),
        ("phases = [{", "phases = 3 #", r"phases must be a list"),
        ("optimiser = \"adamw\"", "optimiser = \"adamw\"\nmomentum = 0.5", r"Momentum applies only to sgd"),
        ("[findings]", "[findings", r"not valid TOML"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError, match=message):
        read(tmp_path, GOOD.replace(old, new, 1))


def test_unknown_recipe_suggests() -> None:
    with pytest.raises(UnknownNameError, match=r"'real-small'"):
        load_recipe("realsmall")
    with pytest.raises(UsageError, match=r"absent\.toml cannot be read"):
        load_recipe("absent.toml")


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_follow_the_schema(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.expected and recipe.cost and recipe.about
    assert isinstance(recipe.findings, Step)
    assert recipe.classes.phases[0].trains == "head" and recipe.classes.phases[-1].trains == "all"


def test_names() -> None:
    assert {"demo", "real-small"} <= set(recipe_names())
