"Each answer as often as it should come: on proportions that are known"
import pytest
import torch
from doubles import TwoPictures

from cvae_tutorial.data import get_pairs, join_quadrants
from cvae_tutorial.proportions import brier_score, class_mix, class_scores, follower_shares, make_followers
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
    "On outcomes with known probabilities: the truth scores best, and the corrected Brier score is that of the exact mix"
    torch.manual_seed(0)
    exact = torch.distributions.Dirichlet(torch.full((10,), 2.)).sample((20_000,))
    digits = exact.multinomial(1)[:, 0]
    best = class_scores(exact, digits)
    for wrong in (exact.roll(1, 0), (exact**2)/(exact**2).sum(1, True), (exact + .1)/2):
        for score, lowest in zip(class_scores(wrong, digits), best): assert score.mean() > lowest.mean() + .005
    halves = torch.stack([torch.distributions.Multinomial(128, exact).sample() for _ in range(2)])/128
    plain = class_scores(halves.mean(0), digits)[1].mean() - best[1].mean()
    corrected = (brier_score(halves, digits) - best[1]).mean()
    assert plain > .002 and abs(corrected) < .001


def test_followers_come_in_the_proportion_asked_for():
    val = get_pairs(1)["val"]
    images = join_quadrants(val.x, val.y, 1)
    pairs = make_followers(images, val.digits, even=.8, odd=.3)
    zeros = images[val.digits == 0].flatten(1)
    is_zero = (torch.cdist(pairs.y, zeros).min(1).values < .1).float()
    for parity, chance in (0, .8), (1, .3): assert is_zero[val.digits % 2 == parity].mean().item() == pytest.approx(chance, abs=.06)
    assert torch.equal(make_followers(images, val.digits, .8, .3).y, pairs.y)


def test_whoever_ignores_the_question_is_found_out():
    "A model with the right shares on average, the same after every question"
    test = get_pairs(1)["test"]
    picture = [join_quadrants(test.x, test.y, 1)[test.digits == digit][0].flatten() for digit in (0, 1)]
    torch.manual_seed(0)
    shares = follower_shares(TwoPictures(.7, torch.stack(picture)), load_classifier(), torch.zeros(20, 784))
    assert shares["zero"] == pytest.approx(.7, abs=.05) == shares["forced"] and shares["other"] == 0  # not .9 or .5, the truth after even and odd digits
