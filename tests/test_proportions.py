"Each answer as often as it should come: on proportions that are known"
import pytest
import torch
from doubles import TwoPictures

from cvae_tutorial.data import get_pairs, join_quadrants
from cvae_tutorial.proportions import class_mix, class_scores, finite_sample_scores, make_followers
from cvae_tutorial.reader import load_classifier


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad(): yield


def test_class_mix_finds_known_proportions():
    "Real digits with an empty visible quadrant, drawn 7 to 3, read by the packaged reader"
    train = get_pairs(1)["train"]
    def picture(digit): return train.y[(train.x.sum(1) == 0) & (train.digits == digit)][0]
    torch.manual_seed(0)
    mix = class_mix(TwoPictures(.7, torch.stack([picture(7), picture(1)])), load_classifier(), torch.zeros(50, 196), 1)
    assert mix.shape == (2, 50, 10)
    shares = mix.mean((0, 1))
    assert shares[7].item() == pytest.approx(.7, abs=.03) and shares[1].item() == pytest.approx(.3, abs=.03)


def test_scores_are_proper_and_free_of_the_noise_of_few_samples():
    "On outcomes with known probabilities: the truth scores best, and the correction finds the score of the exact mix"
    torch.manual_seed(0)
    exact = torch.distributions.Dirichlet(torch.full((10,), 2.)).sample((20_000,))
    digits = exact.multinomial(1)[:, 0]
    best = class_scores(exact, digits)
    for wrong in (exact.roll(1, 0), (exact**2)/(exact**2).sum(1, True), (exact + .1)/2):
        for score, lowest in zip(class_scores(wrong, digits), best): assert score.mean() > lowest.mean() + .005
    halves = torch.stack([torch.distributions.Multinomial(128, exact).sample() for _ in range(2)])/128
    halves = (halves + 1e-3)/(1 + 1e-2)
    plain = class_scores(halves.mean(0), digits)[0].mean() - best[0].mean()
    corrected = finite_sample_scores(halves, digits)[0].mean() - best[0].mean()
    assert plain > .01 and abs(corrected) < plain/2
    brier = finite_sample_scores(halves, digits)[1].mean() - best[1].mean()
    assert abs(brier) < .002


def test_followers_come_in_the_proportion_asked_for():
    val = get_pairs(1)["val"]
    images = join_quadrants(val.x, val.y, 1)
    pairs = make_followers(images, val.digits, chance=.7)
    zeros = images[val.digits == 0].flatten(1)
    is_zero = (torch.cdist(pairs.y, zeros).min(1).values < .1).float().mean().item()
    assert is_zero == pytest.approx(.7, abs=.04)
    assert torch.equal(make_followers(images, val.digits).y, pairs.y)
