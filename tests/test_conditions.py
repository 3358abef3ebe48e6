from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import UnknownNameError, UsageError
from audit.suites.reader import load_suite, suite_names


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_keep_the_rules(name: str) -> None:
    suite = load_suite(name)
    assert suite.conditions[0].name == "clean"
    for condition in suite.conditions:
        if condition.role in ("edit", "sufficiency"):
            assert condition.suspect != "what the edit changes", "the report must be able to name it"
            assert condition.placebo is not None, "every edit has its placebo"
            assert suite[condition.placebo].role == "placebo"
        if condition.role != "clean":
            assert condition.question
    assert any(c.role == "control" for c in suite.conditions)


def test_near_miss() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'standard'"):
        load_suite("standrad")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[condition]]\nname='a'\n", "condition a has no perturbation"),
        ("[[condition]]\nname='a'\nperturbation='x'\nrole='edits'\n", "role must be .*edit or .*found 'edits'"),
        ("[[condition]]\nname='a'\nperturbation='x'\nrole='edit'\nplacebo='b'\n", "No placebo of a is called 'b'"),
        (
            "[[condition]]\nname='a'\nperturbation='x'\nrole='edit'\ndraws=0\n",
            "condition a.draws must be an integer >= 1, found 0",
        ),
        ("[[condition]]\nname='clean'\nperturbation='x'\nrole='edit'\n", "has a duplicate condition: clean"),
        (
            "[[condition]]\nname='a'\nperturbatoin='x'\nrole='edit'\n",
            "condition a has a field perturbatoin.*'perturbation'",
        ),
        ("[[condition]]\nname='a'\nperturbation='x'\nrole='sufficiency'\n", "judged against a placebo"),
        (
            "[[condition]]\nname='a'\nperturbation='x'\nrole='edit'\nladder=3\n",
            "condition a.ladder must be an object, found 3",
        ),
        (
            "[[condition]]\nname='a'\nperturbation='x'\nrole='edit'\nladder={parameter='p', values=[2, 1]}\n",
            "must increase, found .2, 1",
        ),
        (
            "[[condition]]\nname='a'\nperturbation='x'\nrole='edit'\nladder={parameter='p', values=['1', 2]}\n",
            r"condition a.ladder.values\[0\] must be a number",
        ),
        ("colour = 1\n", "field colour, which is not known"),
        ("version = 'x'\n", "version must be an integer, found 'x'"),
        ("condition = 3\n", "condition must be a list, found 3"),
        ("[[condition]]\nname=1\nperturbation='x'\nrole='edit'\n", r"\[\[condition\]\] number 1.name must be a string"),
        (
            "[[condition]]\nname='a'\nperturbation='x'\nrole='edit'\nparameters=3\n",
            "condition a.parameters must be an object, found 3",
        ),
        (
            "[[condition]]\nname='a'\nperturbation='x'\nrole='edit'\ndraws=true\n",
            "draws must be an integer, found True",
        ),
        ("[[condition]]\nname='a'\nperturbation='text-mas'\nrole='edit'\n", "Condition a: No perturbation"),
        (
            "[[condition]]\nname='a'\nperturbation='text-mask'\nrole='edit'\nparameters={fill='blak'}\n",
            "Condition a: No fill is called 'blak'",
        ),
        ("condition = ['x', 'y']\n", r"\[\[condition\]\] number 1 must be an object, found 'x'"),
        ("= 1", "not valid TOML"),
    ],
)
def test_bad_suite_files(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        load_suite(str(path))


def test_a_byte_order_mark_is_no_part_of_a_suite(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "s.toml"
    path.write_text("description = 'x'\n", encoding="utf-8-sig")
    assert load_suite(str(path)).description == "x"


def test_missing_suite_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_suite(str(tmp_path / "none.toml"))


def test_a_ladder_is_a_condition_a_rung(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        """
        [[condition]]
        name = "letters"
        perturbation = "paste-letters"
        role = "edit"
        placebo = "same"
        parameters = { source = "other-class" }
        ladder = { parameter = "opacity", values = [0.25, 1.0] }
        [[condition]]
        name = "same"
        perturbation = "paste-letters"
        role = "placebo"
        parameters = { source = "same-class" }
        ladder = { parameter = "opacity", values = [0.25, 1.0] }
        """
    )
    suite = load_suite(str(path))
    assert [c.name for c in suite.conditions] == ["clean", "letters-0.25", "letters-1", "same-0.25", "same-1"]
    rung = suite["letters-0.25"]
    assert rung.placebo == "same-0.25"
    assert rung.parameters == {"source": "other-class", "opacity": 0.25}
    assert rung.stream == suite["letters-1"].stream == "letters", "every dose shares its draws"
    assert not rung.judged
