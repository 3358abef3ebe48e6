from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import UnknownNameError, UsageError
from audit.run.settings import Settings, load_settings


def test_defaults_without_any_file(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path, {}) == Settings()


def test_each_source_lies_over_the_next(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.audit.run]\nmodel = "P"\nseed = 1\n')
    assert load_settings({}, tmp_path, {}).model == "P"
    (tmp_path / "audit.toml").write_text('[run]\nmodel = "T"\nseed = 2\nsuite = "quick"\nlevel = 0.9\n')
    settings = load_settings({"seed": None, "model": "CLI"}, tmp_path, {"AUDIT_SEED": "3", "AUDIT_SUITE": ""})
    assert (settings.model, settings.seed, settings.suite, settings.level) == ("CLI", 3, "quick", 0.9)


def test_lists_and_tables(tmp_path: Path) -> None:
    (tmp_path / "audit.toml").write_text(
        '[run]\nignore_label = ["other"]\n[tolerance]\nshortcut_sensitivity = 0.1\n[gate]\nconfidence = 0.95\n'
    )
    settings = load_settings({}, tmp_path, {})
    assert settings.ignore_label == ("other",)
    assert settings.tolerance == {"shortcut_sensitivity": 0.1}
    assert settings.gate == {"confidence": 0.95}
    assert load_settings({}, tmp_path, {"AUDIT_IGNORE_LABEL": "a, b"}).ignore_label == ("a", "b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run]\nsead = 1\n", "Did you mean 'seed'"),
        ("[ruin]\nseed = 1\n", "Did you mean 'run'"),
        ("[run]\nseed = 'x'\n", "seed must be an integer"),
        ("[run]\nseed = true\n", "seed must be an integer"),
        ("[run]\nlevel = 1\n", "at least 0.5 and below 1"),
        ("[run]\nlevel = 'high'\n", "level must be a number"),
        ("[run]\nseed = -1\n", "from 0 to"),
        ("[run]\nseed = 9223372036854775808\n", "from 0 to"),
        ("[run]\nworkers = 0\n", "1 or more"),
        ("[run]\nignore_label = [1]\n", "a list of strings"),
        ("[run]\nmodel = 1\n", "must be a string"),
        ("[run]\nresamples = 5\n", "at least 100"),
        ("[run]\nsplit = 'tets'\n", "Did you mean 'test'"),
        ("[run]\ntask = 'single'\n", "Did you mean 'single-label'"),
        ("[run]\nrelevance_images = -1\n", "0 or more"),
        ("[tolerance]\nacuracy = 0.1\n", "Did you mean 'accuracy'"),
        ("[tolerance]\nmargin = 0.1\n", "No judged measure"),
        ("[tolerance]\naccuracy = 'a'\n", "tolerance of accuracy"),
        ("[tolerance]\naccuracy = 1\n", "between 0 and 1, both excluded"),
        ("[tolerance]\naccuracy = nan\n", "between 0 and 1, both excluded"),
        ("run = [", "cannot be read as TOML"),
    ],
)
def test_bad_settings(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "audit.toml").write_text(text)
    with pytest.raises(UsageError, match=says):
        load_settings({}, tmp_path, {})


def test_bad_environment(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="AUDIT_SEED must be an integer"):
        load_settings({}, tmp_path, {"AUDIT_SEED": "x"})
    with pytest.raises(UnknownNameError):
        load_settings({}, tmp_path, {"AUDIT_SPLIT": "x"})
