"What pixels say about each other, on models and pictures where it is known"
import math

import pytest
import torch
from doubles import TwoPictures
from pyro.distributions import Normal

from cvae_tutorial.agreement import critic_accuracy, lead_parts, neighbor_correlation, shared_variance, train_critic
from cvae_tutorial.data import get_pairs, join_quadrants, visible_mask


def test_the_lead_of_a_model_that_tosses_one_coin_for_all_pixels():
    "Ten pixels, all black or all white: a single picture pays log 2 for each of them, the coin pays it once"
    def recognition(x, y): return Normal(torch.where(y[:, :1] > .5, -.8, .8), .8).to_event(1)  # knows which
    model = TwoPictures(.5, torch.stack([torch.full((10,), .999), torch.full((10,), .001)]))
    model.recognition = recognition
    y = torch.tensor([0., 1.])[:, None].expand(2, 10).repeat(100, 1)
    torch.manual_seed(0)
    parts = {name: nats.mean().item() for name, nats in lead_parts(lambda x: torch.full((len(x), 10), .5), model, torch.zeros(200, 1), y, 4000, 2000).items()}
    assert parts["baseline"] == pytest.approx(10*math.log(2)) and parts["mean"] == pytest.approx(10*math.log(2), abs=.02)
    assert parts["cvae"] == pytest.approx(math.log(2) - 10*math.log(.999), abs=.02)  # one decision
    assert parts["fit"] + parts["divergence"] > parts["cvae"]  # the bound


def test_errors_of_neighbors():
    "Independent errors correlate at no distance; errors that are the same over two by two pixels at distance 1"
    torch.manual_seed(0)
    def hidden(images): return images[:, ~visible_mask(2)]
    assert all(abs(r) < .03 for r in neighbor_correlation(hidden(torch.randn(300, 28, 28)), 2).values())
    blocks = torch.randn(300, 14, 14).repeat_interleave(2, 1).repeat_interleave(2, 2)
    r = neighbor_correlation(hidden(blocks), 2, (1, 2))
    assert .4 < r[1] < .6 and abs(r[2]) < .03


def test_shared_variance_is_that_of_different_pixels():
    torch.manual_seed(0)
    one_coin, coins = (torch.rand(50_000, n) < .5 for n in (1, 3))
    torch.testing.assert_close(shared_variance(one_coin.float().expand(-1, 3)), .25*(1 - torch.eye(3)), atol=.01, rtol=0)
    assert shared_variance(coins.float()).abs().max() < .01


def test_a_critic_catches_what_is_wrong_and_nothing_else():
    "Pictures of other inputs are caught, since their strokes do not meet; a second set of the same pictures is not"
    val, test = get_pairs(1)["train"], get_pairs(1)["test"]
    def images(p, roll=0): return join_quadrants(p.x, p.y.roll(roll, 0), 1)
    critic = train_critic(images(val), images(val, 1), epochs=3)
    assert critic_accuracy(critic, images(test), images(test, 1)) > .65
    same = train_critic(images(val)[:4000], images(val)[4000:8000], epochs=1)
    assert critic_accuracy(same, images(test)[:1000], images(test)[1000:]) == pytest.approx(.5, abs=.06)
