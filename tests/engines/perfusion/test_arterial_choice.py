"""Arteries are found among tissue, veins and noise, and always the same ones."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.perfusion import choose_arterial, describe_arterial
from timelens.errors import DataError

T = np.arange(0, 90, 1.5)


def bolus(start: float, width: float, height: float) -> np.ndarray:
    x = np.maximum(T - start, 0) / width
    return height * x**3 * np.exp(3 * (1 - x))


@pytest.fixture
def brain(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """1,600 voxels: 24 arteries, 40 veins, tissue and 300 of noise."""
    curves = np.stack([bolus(22 + rng.uniform(0, 3), 9, rng.uniform(2, 6)) for _ in range(1600)], axis=1)
    artery = np.zeros(1600, bool)
    artery[rng.permutation(1600)[:64]] = True
    where = np.flatnonzero(artery)
    curves[:, where[:24]] = np.stack([bolus(15, 4.5, rng.uniform(35, 50)) for _ in range(24)], axis=1)
    curves[:, where[24:]] = np.stack([bolus(24, 6.5, rng.uniform(35, 50)) for _ in range(40)], axis=1)
    curves[:, rng.permutation(np.flatnonzero(~artery))[:300]] = 0
    return curves + rng.normal(0, 0.5, curves.shape), where[:24]


def test_arteries_are_found(brain: tuple[np.ndarray, np.ndarray]) -> None:
    curves, arteries = brain
    found = choose_arterial(T, curves.reshape(T.size, 40, 40))
    assert found.mask.shape == (40, 40)
    assert set(np.flatnonzero(found.mask)) <= set(arteries)
    assert found.voxels >= 3
    truth = bolus(15, 4.5, 1.0)
    assert np.corrcoef(found.curve, truth)[0, 1] > 0.998
    assert found.early > 5
    assert found.peak_to_baseline > 50
    assert found.full_width == pytest.approx(6, abs=2)
    again = choose_arterial(T, curves.reshape(T.size, 40, 40))
    assert (again.mask == found.mask).all()


def test_a_mask_is_kept_to(brain: tuple[np.ndarray, np.ndarray]) -> None:
    curves, _ = brain
    mask = np.arange(1600) < 800
    assert not choose_arterial(T, curves, mask=mask).mask[800:].any()


def test_too_little_to_choose_from(brain: tuple[np.ndarray, np.ndarray]) -> None:
    curves, _ = brain
    with pytest.raises(DataError, match=r"draw the arterial region"):
        choose_arterial(T, curves[:, :60])
    with pytest.raises(DataError, match=r"Too few curves"):
        choose_arterial(T, np.zeros((T.size, 50)))
    with pytest.raises(DataError, match=r"one value per time"):
        choose_arterial(T, np.zeros((3, 50)))


def test_what_speaks_against_an_artery(brain: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    curves, arteries = brain
    drawn = np.zeros(1600, bool)
    drawn[arteries] = True
    good = describe_arterial(T, curves, drawn)
    assert good.doubts() == []
    assert good.peak == pytest.approx(good.curve.max())
    assert good.moment == pytest.approx(21, abs=2)
    curves[:, arteries[2:]] = 0.0
    curves[:, arteries[:2]] = (0.1 * bolus(40, 20, 30.0) + rng.normal(0, 1.5, T.size))[:, None]
    said = "; ".join(describe_arterial(T, curves, drawn & (np.cumsum(drawn) <= 2)).doubts())
    for text in ("only 2 voxels", "wide at half", "later than the tissue", "ragged"):
        assert text in said
