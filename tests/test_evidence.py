"Sharpness and coverage as numbers: they order what the eye orders, and find a rare picture"
import math

import pytest
import torch
from doubles import TwoPictures

from cvae_tutorial.cvae import CVAE
from cvae_tutorial.data import get_pairs, join_quadrants, split_quadrants
from cvae_tutorial.evidence import cheats, coverage, density_and_coverage, gradient_energy, one_answer_nll, pixel_entropy, twins_nll
from cvae_tutorial.kit.pairs import Pairs


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


def test_cheats_by_hand():
    class Net:
        logits = staticmethod(lambda x: torch.linspace(-2, 2, 588).expand(len(x), -1))

        def __call__(self, x): return self.logits(x).sigmoid()
    torch.manual_seed(0)
    cvae, train = CVAE(2, 8, 8, x_dim=196, y_dim=588), Pairs(torch.rand(5, 196), torch.rand(5, 588), None, "rows")
    made, line = cheats(Net(), cvae, train, train.x[[3, 1]] + 1e-4), torch.linspace(-2, 2, 588)
    assert torch.equal(made["nearest training digit"], train.y[[3, 1]])
    for name, picture in {"baseline, cut at one half": (line > 0).float(), "baseline, logits doubled": (2*line).sigmoid(), "baseline, logits tripled": (3*line).sigmoid()}.items():
        torch.testing.assert_close(made[name], picture.expand(2, -1))
    with pytest.raises(TypeError, match=r"(?s)evidence.cheats.*parameter 'x'"): cheats(Net(), cvae, train, torch.rand(196))


def test_a_mixture_of_one_twin_is_that_twin_a_little_softer():
    torch.manual_seed(0)
    train, y = Pairs(torch.rand(5, 196), torch.rand(5, 588), None, "rows"), torch.rand(2, 588)
    found = twins_nll(train, train.x[[4, 0]] + 1e-4, y, count=1, soft=.1)
    torch.testing.assert_close(found, one_answer_nll(.9*train.y[[4, 0]] + .05, y))


def test_what_is_visible_has_no_gradient():
    images = torch.zeros(2, 28, 28)
    images[0, 20, 5], images[1, 5, 5] = 1, 1
    assert gradient_energy(images, 1).tolist() == [0, 4]
