from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import audit
from audit.cli.main import app
from audit.errors import UnknownNameError, UsageError
from audit.run.setting import Setting, declared_settings
from audit.run.setting_checks import make_settings
from audit.run.setting_sources import load_settings
from audit.run.settings import Settings


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
        ("[run]\nseed = 'x'\n", r"\[run\] seed in audit\.toml must be an integer"),
        ("[run]\nseed = true\n", r"\[run\] seed in audit\.toml must be an integer"),
        ("[run]\nlevel = 1\n", "at least 0.5 and below 1"),
        ("[run]\nlevel = 'high'\n", "level in audit.toml must be a number"),
        ("[run]\nseed = -1\n", "from 0 to"),
        ("[run]\nseed = 9223372036854775808\n", "from 0 to"),
        ("[run]\nworkers = 0\n", "workers in audit.toml must be an integer of at least 1 or auto, found 0"),
        ("[run]\nignore_label = [1]\n", "a list of strings"),
        ("[run]\nmodel = 1\n", "must be a string"),
        ("[run]\nresamples = 5\n", "at least 100"),
        ("[run]\nsplit = 'tets'\n", "Did you mean 'test'"),
        ("[run]\ntask = 'single'\n", "Did you mean 'single-label'"),
        ("[run]\nrelevance_images = -1\n", "of at least 0"),
        ("[tolerance]\nacuracy = 0.1\n", "Did you mean 'accuracy'"),
        ("[tolerance]\nmargin = 0.1\n", "No judged measure"),
        ("[tolerance]\naccuracy = 'a'\n", r"limit of accuracy in \[tolerance\]"),
        ("[tolerance]\naccuracy = 1\n", "between 0 and 1, both excluded"),
        ("[tolerance]\naccuracy = nan\n", "between 0 and 1, both excluded"),
        ("[recall]\nall = 3\n", r"\[recall\] in audit.toml must hold \[found, boxes\]"),
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
    with pytest.raises(UnknownNameError, match=r"No value of AUDIT_SPLIT is called 'tets'. Did you mean 'test'"):
        load_settings({}, tmp_path, {"AUDIT_SPLIT": "tets"})
    with pytest.raises(UsageError, match="AUDIT_PLAIN_IDS must be true or false, found 'perhaps'"):
        load_settings({}, tmp_path, {"AUDIT_PLAIN_IDS": "perhaps"})
    told = load_settings({}, tmp_path, {"AUDIT_PLAIN_IDS": "Yes", "AUDIT_LEVEL": "0.9", "AUDIT_MODEL": "12"})
    assert (told.plain_ids, told.level, told.model) == (True, 0.9, "12")


TYPES = {str: st.text(), int: st.integers(), float: st.floats(), bool: st.booleans()}


def within(setting: Setting, value: object) -> bool:
    """Say whether a value is of a setting's type and in its range, by comparisons written out."""
    if type(value) is not setting.type and not (setting.type is float and type(value) is int):
        return False
    limits = setting.limits
    return not (
        (limits.ge is not None and not value >= limits.ge)
        or (limits.gt is not None and not value > limits.gt)
        or (limits.le is not None and not value <= limits.le)
        or (limits.lt is not None and not value < limits.lt)
    )


@pytest.mark.parametrize("name", [name for name, s in declared_settings().items() if s.type in TYPES])
@given(st.one_of(*TYPES.values(), st.none(), st.lists(st.text(max_size=3), max_size=2)))
def test_every_setting_is_held_against_its_declaration(name: str, value: object) -> None:
    setting = declared_settings()[name]
    if within(setting, value):
        assert getattr(make_settings({name: value}), name) == value
    else:
        with pytest.raises(UsageError, match=f"setting {name}") as raised:
            make_settings({name: value})
        assert len(str(raised.value)) < 300, "a message echoes no more than a line of what was found"
        assert str(raised.value).isprintable()


def test_what_a_declaration_says_holds_for_its_default() -> None:
    for name, setting in declared_settings().items():
        assert getattr(make_settings({} if setting.is_table else {name: setting.default}), name) == setting.default
        assert setting.help.endswith("."), name
        assert setting.expected, name


COMMENT = ["pr_comment", "artifact_url", "files_url", "embed_pictures"]


@pytest.mark.parametrize("command", ["run", "plan"])
def test_each_setting_is_an_option_and_nothing_else_declares_one(command: str) -> None:
    registered = next(c.callback for c in app.registered_commands if c.name == command)
    options = inspect.signature(registered).parameters
    settings = [s.name for s in declared_settings().values() if s.has_option]
    assert list(options)[: len(settings)] == settings
    assert (
        list(options)[len(settings) :]
        == {"run": ["gate", "baseline", *COMMENT, "as_json"], "plan": ["sheet", "as_json"]}[command]
    )
    assert all(options[name].default is None for name in settings), "what was not given falls to the next source"


def test_an_option_reaches_its_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("audit.commands.planning.plan", lambda settings, **_: told.append(settings) or 0)
    (tmp_path / "audit.toml").write_text('[run]\nmodel = "T"\nplain_ids = true\nignore_label = ["a"]\n')
    runner = CliRunner()
    assert runner.invoke(app, ["plan"]).exit_code == 0
    assert (
        runner.invoke(
            app, ["plan", "--no-plain-ids", "--ignore-label", "b", "--ignore-label", "c", "--level", "0.9"]
        ).exit_code
        == 0
    )
    assert [(s.model, s.plain_ids, s.ignore_label, s.level) for s in told] == [
        ("T", True, ("a",), 0.95),
        ("T", False, ("b", "c"), 0.9),
    ]
    with pytest.raises(UsageError, match=r"--level must be a number of at least 0.5 and below 1, found 2.0"):
        runner.invoke(app, ["plan", "--level", "2"], catch_exceptions=False)


def test_python_takes_every_setting_by_name() -> None:
    taken = inspect.signature(audit.run_audit).parameters
    assert set(declared_settings()) <= set(taken)
    assert all(
        taken[name].default == s.default for name, s in declared_settings().items() if name not in ("model", "gate")
    )
    with pytest.raises(
        UsageError, match=r"setting workers must be an integer of at least 1 or auto, found 'two'\. The default is auto"
    ):
        audit.run_audit(model="C", workers="two")
