"Sharpness and coverage as numbers: they order what the eye orders, and find a rare picture"
import math

import pytest
import torch
from doubles import TwoPictures

from cvae_tutorial.data import get_pairs, join_quadrants, split_quadrants
from cvae_tutorial.evidence import coverage, density_and_coverage, gradient_energy, pixel_entropy


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad(): yield


def test_best_of_many_finds_the_picture():
    torch.manual_seed(0)
    model = TwoPictures(.9, torch.eye(2))
    best = coverage(model, torch.zeros(400, 1), torch.eye(2)[1].expand(400, -1))  # the truth is the rare picture
    for N, d in best.items(): assert d.mean().item() == pytest.approx(.9**N, abs=.06)


def test_measures_of_sharpness_order_what_the_eye_orders():
    "Blur lowers the gradient energy and raises the entropy of real digits; noise raises the gradient energy"
    images = join_quadrants(*[part[:200] for part in (get_pairs(1)["test"].x, get_pairs(1)["test"].y)], 1)
    blurred = torch.nn.functional.avg_pool2d(images[:, None], 3, 1, 1)[:, 0]
    noise = images.mean(0).expand_as(images).bernoulli()
    sharp, soft, rough = (gradient_energy(i, 1).mean() for i in (images, blurred, noise))
    assert soft < .6*sharp < sharp < .8*rough
    y, y_soft = (split_quadrants(i, 1)[1] for i in (images, blurred))
    assert pixel_entropy(y_soft).mean() > 1.5*pixel_entropy(y).mean()
    assert pixel_entropy(torch.full((3,), .5)).item() == pytest.approx(3*math.log(2))


def test_coverage_of_sets_far_from_zero():
    "What counts is how far pictures lie from each other, not from zero"
    torch.manual_seed(0)
    real, drawn = .1*torch.randn(500, 16), .1*torch.randn(500, 16)
    assert density_and_coverage(real + 1000, drawn + 1000) == pytest.approx(density_and_coverage(real, drawn), abs=.02)
    for broken in (real*math.nan, drawn), (real, drawn*math.nan), (real, drawn[:0]):
        with pytest.raises(ValueError, match="real|drawn"): density_and_coverage(*broken)
