"Fitting a CVAE: one seed makes one result, and digits that move stay digits"
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st

from cvae_tutorial.baseline import train_baseline
from cvae_tutorial.constraints import probe_class
from cvae_tutorial.cvae import CVAE
from cvae_tutorial.data import count_quadrants, get_pairs, join_quadrants, split_quadrants
from cvae_tutorial.kit.drawing import show_digits
from cvae_tutorial.reader import train_classifier
from cvae_tutorial.training import elbo_loss, shift_digits, train_cvae


def test_one_seed_one_result():
    pairs = {split: replace(p, x=p.x[:1000], y=p.y[:1000], digits=p.digits[:1000]) for split, p in get_pairs(1).items()}
    def losses(seed): return [(r["train"], r["val"]) for r in train_cvae(pairs, hidden=50, z_dim=5, epochs=2, seed=seed)[1]]
    histories = [losses(seed) for seed in (0, 0, 1)]
    assert histories[0] == histories[1] != histories[2]
    assert max(history[-1][1] for history in histories) < 500  # the step size is one that learns


def test_broken_weights_make_a_loss_that_is_no_number():
    "Where Pyro's own checks would stop, without the step and the step size that `fit` names"
    cvae = CVAE(2, 8, 8, x_dim=196, y_dim=588)
    for weight in cvae.prior_net.parameters(): torch.nn.init.constant_(weight, torch.nan)
    with pytest.warns(UserWarning, match="NaN"): assert elbo_loss(cvae)(torch.rand(3, 196), torch.rand(3, 588)).isnan()


def test_shifted_digits_are_the_digits_moved():
    "The visible and the hidden part move together, by at most a pixel, and all nine moves occur"
    images = torch.zeros(500, 28, 28)
    images[:, 13, 13] = 1
    torch.manual_seed(0)
    moved = join_quadrants(*shift_digits(*split_quadrants(images, 1)), 1)
    _, rows, columns = moved.nonzero().T
    assert len(rows) == 500 and set(zip(rows.tolist(), columns.tolist())) == {(r, c) for r in (12, 13, 14) for c in (12, 13, 14)}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_shifts_keep_the_kind_of_puzzle(n, count, seed):
    torch.manual_seed(seed)
    x, y = split_quadrants(torch.rand(count, 28, 28), n)
    moved = shift_digits(x, y)
    assert [part.shape for part in moved] == [x.shape, y.shape] and count_quadrants(*moved) == n


def test_a_whole_number_is_a_step_size_and_a_width_too():
    "1 is as good as 1.0 where a positive number is asked"
    show_digits(torch.rand(2, 28, 28), 1)
    pairs = {split: replace(p, x=p.x[:50], y=p.y[:50], digits=p.digits[:50]) for split, p in get_pairs(1).items()}
    whole, other = (train_cvae(pairs, z_dim=2, hidden=4, epochs=1, lr=lr)[1][0]["val"] for lr in (1, 1.))
    assert whole == other


def test_training_leaves_the_callers_random_numbers_alone():
    "Each net has a seed of its own, and whoever trains it draws on as if nothing had been drawn"
    pairs = {split: replace(p, x=p.x[:300], y=p.y[:300], digits=p.digits[:300]) for split, p in get_pairs(1).items()}
    def drawn(train):
        torch.manual_seed(3)
        train()
        return torch.rand(4).tolist()
    expected, cvae = drawn(lambda: None), CVAE(4, 8, 8, x_dim=196, y_dim=588)
    small = dict(epochs=1, seed=5)
    trainers = (lambda: train_cvae(pairs, hidden=8, **small), lambda: train_baseline(pairs, hidden=8, **small),
                lambda: train_classifier(pairs, **small), lambda: probe_class(cvae, pairs))
    assert [drawn(train) for train in trainers] == [expected]*4


@pytest.mark.parametrize("value", [-.1, 1.1])
def test_pixels_lie_between_black_and_white(value):
    "Numbers may be anything"
    pairs = {split: replace(p, x=p.x[:50], y=p.y[:50].clone(), digits=p.digits[:50]) for split, p in get_pairs(1).items()}
    pairs["train"].y[7, 7] = value
    with pytest.raises(ValueError, match="train"): train_cvae(pairs, z_dim=2, hidden=4, epochs=1)
    train_cvae(pairs, z_dim=2, hidden=4, epochs=1, likelihood="numbers")
