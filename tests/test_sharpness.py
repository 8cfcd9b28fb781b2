"Where the blur went: each measure on models whose answer is known"
import pytest
import torch
from doubles import TwoPictures
from hypothesis import given, settings, strategies as st

from cvae_tutorial.evidence import coverage
from cvae_tutorial.sharpness import averaging, baseline_variance, calibration_error, floor_and_variance, reliability, variance_split

chances = st.floats(.1, .9)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad(): yield


@settings(max_examples=15, deadline=None)
@given(chances, chances, chances)
def test_variance_split_is_the_law_of_total_variance(chance, p, q):
    "Each term against its formula for two pictures"
    torch.manual_seed(0)
    pictures = torch.tensor([[p, 1.], [q, 0.]])
    split = variance_split(TwoPictures(chance, pictures), torch.zeros(40, 1), samples=500)
    within = chance*pictures[0]*(1 - pictures[0]) + (1 - chance)*pictures[1]*(1 - pictures[1])
    between = chance*(1 - chance)*(pictures[0] - pictures[1])**2
    for name, expected in dict(within=within, between=between, total=within + between).items():
        torch.testing.assert_close(split[name].mean(0), expected, atol=.01, rtol=0)


def test_averages_of_samples_fall_to_the_floor():
    "Towards the exact mean the distance falls with one over root K; towards another picture it stops at their distance"
    torch.manual_seed(0)
    model = TwoPictures(.7, torch.tensor([[.9, .1], [.1, .9]]))
    def distances(picture):
        return {K: d.mean().item() for K, d in averaging(lambda x: picture.expand(len(x), -1), model, torch.zeros(500, 1)).items()}
    exact = distances(model.mean)
    for K, d in exact.items(): assert d == pytest.approx(.64*.21/K, rel=.2)
    floor, variance = floor_and_variance(distances(model.mean + .1))
    assert floor == pytest.approx(.01, rel=.1) and variance == pytest.approx(.64*.21, rel=.1)


def test_a_dead_latent_variable_shows():
    "One picture whatever z: nothing between, everything within, as in the baseline"
    torch.manual_seed(0)
    picture = torch.rand(20)
    split = variance_split(TwoPictures(.5, picture.expand(2, -1)), torch.zeros(3, 1))
    assert split["between"].abs().max() < 1e-6
    torch.testing.assert_close(split["within"], baseline_variance(lambda x: picture.expand(len(x), -1), torch.zeros(3, 1)))


@settings(max_examples=20)
@given(st.floats(-3, 3), st.integers(1, 3))
def test_reliability_tells_a_fair_coin_from_a_loaded_one(bias, seed):
    torch.manual_seed(seed)
    p = torch.rand(20_000)
    came = torch.rand(20_000) < (p.logit() + bias).sigmoid()
    table = reliability(p, came.float())
    assert table[:, 2].sum().item() == pytest.approx(1, abs=1e-4)
    expected = ((p.logit() + bias).sigmoid() - p).abs().mean().item()
    assert calibration_error(table) == pytest.approx(expected, abs=.02)


def test_reliability_by_hand():
    "Four bins from 0 to 1, both ends among them; an empty one has no row"
    table = reliability(torch.tensor([0., .2, .6, .99, 1.]), torch.tensor([0., 1., 1., 1., 0.]), bins=4)
    torch.testing.assert_close(table, torch.tensor([[.1, .5, .4], [.6, 1., .2], [.995, .5, .4]]))
    assert calibration_error(table) == pytest.approx(.4*.4 + .2*.4 + .4*.495)


def test_floor_and_variance_by_hand():
    "Through the first and the last number of samples, whatever lies between: 0.4 + 0.6/K"
    assert floor_and_variance({2: .7, 3: 9., 6: .5}) == pytest.approx((.4, .6))


def test_reliability_of_very_many():
    "More of one size than float32 can count"
    count = 2**24 + 2**22
    table = reliability(torch.full((count,), .02), torch.full((count,), .5))
    torch.testing.assert_close(table, torch.tensor([[.02, .5, 1.]]))


@pytest.mark.parametrize("measure", [lambda x: averaging(lambda x: x, TwoPictures(.5, torch.eye(2)), x), lambda x: variance_split(TwoPictures(.5, torch.eye(2)), x)])
def test_no_rows_are_refused(measure):
    with pytest.raises(ValueError, match="number of rows of x must be .* at least 1, not 0"): measure(torch.zeros(0, 2))


@pytest.mark.parametrize("measure", [lambda counts: averaging(lambda x: torch.eye(2)[:1].expand(len(x), -1), TwoPictures(.5, torch.eye(2)), torch.zeros(20, 1), counts),
                                     lambda counts: coverage(TwoPictures(.5, torch.eye(2)), torch.zeros(20, 1), torch.rand(20, 2, generator=torch.Generator().manual_seed(0)), counts)], ids=["averaging", "coverage"])
def test_counts_may_come_in_any_order(measure):
    "As many samples are drawn as the largest count says, and each count takes the first of them"
    def measured(counts):
        torch.manual_seed(0)
        return measure(counts)
    ordered, mixed = measured((1, 4, 16)), measured((16, 1, 4))
    assert list(mixed) == [1, 4, 16] and all(torch.equal(mixed[n], ordered[n]) for n in ordered)
