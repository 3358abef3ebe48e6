"""Intervals against textbook values, against brute force, and against their promise: coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, brunnermunzel, norm, t
from statsmodels.stats.proportion import proportion_confint

from audit.statistics.intervals import change_intervals, share_interval, widened_interval
from audit.statistics.jackknife import PatientInfluence, jackknife_interval
from audit.statistics.multiplicity import holm
from audit.statistics.patient_bootstrap import PatientBootstrap
from audit.statistics.patient_sums import sum_by_patient
from audit.statistics.power import detectable_difference, patients_to_decide
from audit.statistics.ranking import auc_influences, mean_placements
from audit.statistics.score_limits import tango_limits, wilson_limits
from audit.statistics.skewness import with_skewness, without_skewness

Z = float(norm.ppf(0.975))


def sums(values, patients=None, *, scale="difference", counted=True, strata=None, spread=1.0):
    values = np.asarray(values, dtype=float)
    patients = np.arange(len(values)) if patients is None else np.asarray(patients)
    found = sum_by_patient(
        values,
        patients.astype(np.intp),
        int(patients.max()) + 1,
        population=np.ones(len(values), bool),
        scale=scale,
        counted=counted,
        strata=None if strata is None else np.asarray(strata),
        spread=spread,
    )
    assert found is not None
    return found


def one(sample, *, resamples=4000, seed=0, level=0.95):
    rng = np.random.Generator(np.random.PCG64(seed))
    return change_intervals([sample], bootstrap=PatientBootstrap(sample.totals.shape[1], resamples, rng), level=level)[
        0
    ]


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (81, 263), (1, 400)])
def test_wilson_is_the_textbooks(hits: int, n: int) -> None:
    low, high = proportion_confint(hits, n, method="wilson")
    assert wilson_limits(hits, n, Z) == pytest.approx((low, high), abs=1e-9)


def score_by_likelihood(gained: int, lost: int, n: int, delta: float) -> float:
    """Return Tango's statistic with the nuisance share found by maximising the likelihood numerically."""

    def negative(q: float) -> float:  # q: share lost; share gained is q + delta
        total = 0.0
        for count, share in ((gained, q + delta), (lost, q), (n - gained - lost, 1 - 2 * q - delta)):
            if count:
                total -= count * math.log(max(share, 1e-300))
        return total

    floor, top = max(0.0, -delta), (1 - delta) / 2
    q = float(minimize_scalar(negative, bounds=(floor, top), method="bounded", options={"xatol": 1e-12}).x)
    return (gained - lost - n * delta) / math.sqrt(n * (2 * q + delta * (1 - delta)))


@pytest.mark.parametrize(("gained", "lost", "n"), [(1, 12, 100), (9, 3, 44), (20, 20, 100), (5, 0, 30), (2, 6, 400)])
def test_tango_inverts_the_score_test(gained: int, lost: int, n: int) -> None:
    low, high = tango_limits(gained, lost, n, Z)
    assert score_by_likelihood(gained, lost, n, low) == pytest.approx(Z, abs=1e-4)
    assert score_by_likelihood(gained, lost, n, high) == pytest.approx(-Z, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
def test_tango_is_symmetric_and_never_a_point(gained: int, lost: int, same: int) -> None:
    n = gained + lost + same
    if n == 0:
        return
    low, high = tango_limits(gained, lost, n, Z)
    assert -1 <= low < high <= 1
    assert low <= (gained - lost) / n <= high
    mirrored = tango_limits(lost, gained, n, Z)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_nothing_moved_is_not_a_proof() -> None:
    found = one(sums(np.zeros(150)))
    assert found.low is not None
    assert found.low < 0 < found.high
    assert found.high == pytest.approx(tango_limits(0, 0, 150, 1.976)[1], abs=1e-3)
    assert found.p == 1.0
    assert "no patient carries" in found.method
    assert one(sums(np.zeros(15))).high > 3 * found.high, "fewer images, wider interval"
    logits = one(sums(np.zeros(150), scale="unbounded", counted=False, spread=2.0))
    assert logits.high - logits.low > 0.05


def test_one_patient_says_nothing() -> None:
    found = one(sums([1, 1, 0, 1], [0, 0, 0, 0]))
    assert (found.low, found.high, found.p) == (-1.0, 1.0, 1.0)


def test_bootstrap_is_that_of_plain_loops() -> None:
    """Percentiles of resampled patients, with a loop over resamples that knows nothing of matrices."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(60), rng.integers(1, 4, 60))
    values = np.clip(rng.normal(0.1, 0.2, len(patients)) + rng.normal(0, 0.1, 60)[patients], -1, 1)
    sample = sums(values, patients, counted=False)
    found = one(sample, resamples=20_000)
    assert "percentile bootstrap" in found.method
    means = []
    members = [np.flatnonzero(patients == p) for p in range(60)]
    for _ in range(20_000):
        rows = np.concatenate([members[p] for p in rng.integers(0, 60, 60)])
        means.append(values[rows].mean())
    g = 60
    from scipy.stats import t

    tail = norm.cdf(-t.ppf(0.975, g - 1) * math.sqrt(g / (g - 1)))
    low, high = np.quantile(means, [tail, 1 - tail])
    width = high - low
    assert found.low == pytest.approx(low, abs=0.05 * width)
    assert found.high == pytest.approx(high, abs=0.05 * width)
    assert sample.estimate == pytest.approx(values.mean())


def test_patients_not_images_are_resampled() -> None:
    """The same image ten times is not ten images: repeating every image leaves the interval where it was."""
    rng = np.random.default_rng(1)
    values = rng.choice([-1, 0, 0, 1], 80).astype(float)
    once = one(sums(values))
    tenfold = one(sums(np.repeat(values, 10), np.repeat(np.arange(80), 10)))
    assert tenfold.high - tenfold.low == pytest.approx(once.high - once.low, rel=0.15)
    as_images = one(sums(np.repeat(values, 10)))
    assert as_images.high - as_images.low < 0.5 * (once.high - once.low)


@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.02), (0.05, 0.1), (0.15, 0.3)])
def test_coverage_of_paired_differences(gain: float, loss: float) -> None:
    """95 % intervals hold the truth in about 95 % of repetitions, with two images a patient that agree half the time."""
    rng = np.random.default_rng(7)
    truth, held, repetitions = gain - loss, 0, 300
    patients = np.repeat(np.arange(75), 2)
    for _ in range(repetitions):
        shared = rng.choice([1, -1, 0], 75, p=[gain, loss, 1 - gain - loss])[patients]
        own = rng.choice([1, -1, 0], 150, p=[gain, loss, 1 - gain - loss])
        values = np.where(rng.random(150) < 0.5, shared, own).astype(float)
        found = one(sums(values, patients), resamples=600, seed=int(rng.integers(1 << 30)))
        held += found.low <= truth <= found.high
    assert 0.91 <= held / repetitions <= 1.0


def test_accuracy_with_clusters_is_wider() -> None:
    correct = np.repeat([1, 0, 1, 1, 0, 1, 1, 1, 0, 1], 4).astype(float)
    grouped = share_interval(sums(correct, np.repeat(np.arange(10), 4), scale="proportion"), 0.95)
    single = share_interval(sums(correct, scale="proportion"), 0.95)
    assert grouped.high - grouped.low > 1.5 * (single.high - single.low)
    assert 0 <= grouped.low <= 0.7 <= grouped.high <= 1


def test_balanced_accuracy_is_the_mean_of_recalls() -> None:
    labels = np.array([0] * 10 + [1] * 50 + [2] * 5)
    correct = np.random.default_rng(0).integers(0, 2, 65).astype(float)
    sample = sums(correct, scale="proportion", strata=labels)
    assert sample.estimate == pytest.approx(np.mean([correct[labels == c].mean() for c in range(3)]))
    found = share_interval(sample, 0.95)
    assert found.low < sample.estimate < found.high


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([None]) == [None]
    assert holm([0.5]) == [0.5]


def test_detectable_difference_has_the_power_it_says() -> None:
    """Simulated McNemar tests find the smallest detectable difference in four of five repetitions."""
    n, churn = 400, 0.05
    found = detectable_difference(churn, n, Z)
    rng = np.random.default_rng(0)
    gained, lost = rng.multinomial(n, [churn + found, churn, 1 - 2 * churn - found], 4000).T[:2]
    power = np.mean(np.abs(gained - lost) / np.sqrt(np.maximum(gained + lost, 1)) > Z)
    assert power == pytest.approx(0.8, abs=0.04)
    assert detectable_difference(0.3, 2, Z) is None, "two images find nothing"


def test_patients_to_decide_shrinks_the_arm_to_the_limit() -> None:
    needed = patients_to_decide(0.02, -0.02, 0.06, 0.04, 100)
    arm = 0.04 * math.sqrt(100 / needed)
    assert arm <= 0.02
    assert needed == 400
    assert patients_to_decide(0.05, 0.0, 0.1, 0.05, 100) is None
    # 150 * 49**2 = 360,150, and no estimate is known so well.
    assert patients_to_decide(0.049, 0.0, 0.098, 0.05, 150) == 370_000
    assert patients_to_decide(0.0, -0.051, 0.051, 0.05, 120) == 130


def test_level_moves_the_limits() -> None:
    sample = sums(np.random.default_rng(5).normal(0.1, 0.3, 100).clip(-1, 1), counted=False)
    narrow, wide = one(sample, level=0.8), one(sample, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_gaussian_limit_agrees_with_the_bootstrap() -> None:
    values = np.random.default_rng(9).normal(0.02, 0.2, 2500).clip(-1, 1)
    found = one(sums(values, counted=False))
    assert "Gaussian limit" in found.method
    error = values.std(ddof=1) / math.sqrt(2500)
    assert found.high - found.low == pytest.approx(2 * Z * error, rel=0.01)
    root = brentq(lambda z: norm.cdf(z) - 0.975, 0, 5)
    assert pytest.approx(root) == Z


def test_what_would_be_found_follows_the_interval() -> None:
    """A shift of all images by almost nothing is known well, but an interval is as long as what may be unseen."""
    rng = np.random.default_rng(3)
    shift = sums(rng.normal(0.0, 0.001, 200), counted=False)
    bootstrap = PatientBootstrap(200, 400, np.random.Generator(np.random.PCG64(0)))
    (found,) = change_intervals([shift], bootstrap=bootstrap, level=0.95)
    critical, quantile = t.ppf(0.975, 199), norm.ppf(0.975)
    arm = 0.5 * quantile**2 / (200 + quantile**2)
    assert found.high - shift.estimate == pytest.approx(arm, rel=1e-6)
    assert shift.estimate - found.low == pytest.approx(arm, rel=1e-6)
    assert found.minimum_detectable == pytest.approx(arm * (critical + 0.8416) / critical, rel=1e-3)
    assert "that the sample does not contain" in found.method


def aucs(scores: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> dict[int, PatientInfluence]:
    placed = mean_placements(scores[None], labels, len(scores))
    assert placed is not None
    return auc_influences(placed, labels, patients, int(patients.max()) + 1, len(scores), plain=True)[0]


def test_error_and_freedom_of_an_auc_are_those_of_brunner_and_munzel() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [9, 25])
    scores = rng.normal(size=(2, 34)) + (labels == 0)
    found = aucs(scores, labels, np.arange(34))[0]
    theirs = brunnermunzel(scores[0, labels == 1], scores[0, labels == 0])
    statistic = (found.estimate - 0.5) / found.standard_error
    assert statistic == pytest.approx(theirs.statistic)
    assert found.freedom is not None
    assert 2 * t.sf(abs(statistic), found.freedom) == pytest.approx(theirs.pvalue)


@given(st.floats(-8, 8), st.floats(-1, 1))
def test_taking_skewness_away_and_putting_it_back_leaves_nothing(statistic: float, skewness: float) -> None:
    assert without_skewness(with_skewness(statistic, skewness), skewness) == pytest.approx(statistic, abs=1e-7)


def test_what_has_no_bounds_gets_halls_interval() -> None:
    """Solved by root finding for the means whose transformed t is Student's quantile, from the patients' raw values."""
    rng = np.random.default_rng(4)
    values = rng.exponential(2.0, 90) - 0.5
    found = one(sums(values, scale="unbounded", counted=False))
    n, mean = 90, values.mean()
    error = values.std(ddof=1) / math.sqrt(n)
    skew = float(((values - mean) ** 3).sum()) / n**3 / error**3

    def transformed(true_mean: float) -> float:
        statistic = (mean - true_mean) / error
        return statistic + skew * statistic**2 / 3 + skew**2 * statistic**3 / 27 + skew / 6

    influence = (values - mean) / n
    fourth = float((influence**4).sum()) / float((influence**2).sum()) ** 2
    freedom = 2 / (fourth - 1 / n)
    assert freedom < n - 1, "a long tail makes the variance itself uncertain"
    quantile = t.ppf(0.975, freedom)
    low = brentq(lambda m: transformed(m) - quantile, mean - 20 * error, mean + 20 * error)
    high = brentq(lambda m: transformed(m) + quantile, mean - 20 * error, mean + 20 * error)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.high - mean > mean - found.low, "a sample that missed the long tail is too low"
    assert found.p == pytest.approx(2 * t.sf(abs(transformed(0.0)), freedom))


def test_two_networks_that_agree_here_may_differ_elsewhere() -> None:
    """Differences of differences of probabilities: no shorter than what a few images that no sample showed may add, by hand."""
    values = np.random.default_rng(2).normal(0, 0.001, 60)
    found = one(sums(values, np.repeat(np.arange(30), 2), scale="contrast", counted=False))
    quantile = norm.ppf(0.975)
    arm = 0.5 * quantile**2 / (60 / 1.5 + quantile**2)
    assert found.high - values.mean() == pytest.approx(arm)
    assert values.mean() - found.low == pytest.approx(arm)
    assert "that the sample does not contain" in found.method
    far = one(sums(np.r_[values[:-3], 1.8, 1.7, 1.9], scale="contrast", counted=False))
    assert far.high > far.low + 2 * arm, "what the sample shows still counts"


def test_equal_moves_of_all_are_not_known_exactly() -> None:
    found = one(sums(np.full(60, 1.5), scale="unbounded", counted=False, spread=2.0))
    assert found.low < 1.5 < found.high


@given(st.lists(st.floats(-1, 1), min_size=30, max_size=30), st.floats(-2, 2))
def test_the_interval_holds_zero_where_its_p_is_not_small(values: list[float], estimate: float) -> None:
    influence = np.array(values) - np.mean(values)
    sample = PatientInfluence(
        estimate=estimate,
        influence=influence,
        n_images=30,
        n_patients=30,
        fewest=30,
        bounds=(-np.inf, np.inf),
        kind="of a test",
        enough=0.0,
    )
    found = jackknife_interval(sample, 0.95)
    assert found.low is not None
    assert found.high is not None
    if sample.standard_error > 1e-6 and abs(found.p - 0.05) > 1e-6:
        assert (found.low <= 0 <= found.high) == (found.p > 0.05)


def test_a_skewed_mean_is_covered_where_plain_t_misses_it_from_one_side() -> None:
    rng = np.random.default_rng(0)
    held = plain = 0
    for _ in range(1000):
        values = rng.exponential(size=25) ** 1.5
        truth = math.gamma(2.5)
        influence = (values - values.mean()) / 25
        sample = PatientInfluence(
            estimate=float(values.mean()),
            influence=influence,
            n_images=25,
            n_patients=25,
            fewest=25,
            bounds=(-np.inf, np.inf),
            kind="of a test",
            enough=0.0,
        )
        found = jackknife_interval(sample, 0.95)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
        plain += abs(sample.estimate - truth) <= t.ppf(0.975, 24) * sample.standard_error
    assert plain < 900, "the world is skewed"
    assert held > plain + 25


def test_an_auc_with_one_positive_patient_says_nothing() -> None:
    rng = np.random.default_rng(0)
    labels, patients = np.repeat([0, 1], [3, 20]), np.concatenate([[0, 0, 0], np.arange(1, 21)])
    found = jackknife_interval(aucs(rng.normal(size=(2, 23)), labels, patients)[0], 0.95)
    assert (found.low, found.high, found.p) == (0.0, 1.0, 1.0)


def test_the_interval_of_an_auc_near_one_reaches_as_far_as_on_log_odds() -> None:
    """Both by root finding from the estimate, its error and its skewness; the longer arm counts. A change has no log odds."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [60, 60])
    sample = aucs(rng.normal(size=(2, 120)) + 2.2 * (labels == 0), labels, np.arange(120))[0]
    auc, error, skew = sample.estimate, sample.standard_error, sample.skewness
    assert 0.9 < auc < 1
    assert sample.carriers > sample.enough, "no other bound is at work"
    found = jackknife_interval(sample, 0.95)
    assert sample.freedom is not None
    quantile = t.ppf(0.975, sample.freedom)

    def by_odds(truth: float) -> float:
        return (math.log(auc / (1 - auc)) - math.log(truth / (1 - truth))) * auc * (1 - auc) / error

    def by_hall(truth: float) -> float:
        statistic = (auc - truth) / error
        return statistic + skew * statistic**2 / 3 + skew**2 * statistic**3 / 27 + skew / 6

    lows = [brentq(lambda m, f=f: f(m) - quantile, 0.5, auc) for f in (by_odds, by_hall)]
    highs = [
        brentq(lambda m: by_odds(m) + quantile, auc, 1 - 1e-9),
        brentq(lambda m: by_hall(m) + quantile, auc - 1e-3, auc + 20 * error),
    ]
    assert found.low == pytest.approx(min(lows), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, max(highs)), abs=1e-9)
    change = replace(sample, on_log_odds=False, bounds=(-1.0, 1.0))
    plain = jackknife_interval(change, 0.95)
    assert plain.low == pytest.approx(lows[1], abs=1e-9)
    assert "log odds" in found.method
    assert "log odds" not in plain.method


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng, n: rng.beta(1.5, 5, n), 1.5 / 6.5),
        (lambda rng, n: np.where(rng.random(n) < 0.5, rng.beta(2, 2, n) * 0.8, rng.normal(0, 0.01, n)), 0.2),
        (lambda rng, n: np.where(rng.random(n) < 0.9, rng.normal(0.1, 0.02, n), rng.normal(-0.4, 0.05, n)), 0.05),
    ],
    ids=["all move", "half move", "most move up, few far down"],
)
def test_small_groups_at_a_simultaneous_level_are_covered_and_not_four_times_as_wide(
    draw: Callable[[np.random.Generator, int], np.ndarray], truth: float
) -> None:
    """Twelve patients, 99.5 % as where ten words are judged together: every tail errs seldom, the width stays near Student's own."""
    rng, n, repetitions = np.random.default_rng(7), 12, 600
    misses, widths, plain = 0, [], []
    for _ in range(repetitions):
        values = draw(rng, n)
        low, high = widened_interval(sums(values, counted=False), 0.995)
        assert low is not None
        assert high is not None
        misses += not low <= truth <= high
        widths.append(high - low)
        plain.append(2 * t.ppf(0.9975, n - 1) * values.std(ddof=1) / math.sqrt(n))
    assert misses <= binom.ppf(0.999, repetitions, 0.005)
    assert np.mean(widths) < 2 * np.mean(plain)
