"What holds for every input: round trips, orders among estimates, and that nothing fails but with a clear ValueError"
import math
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from cvae_tutorial import sharpness, variants
from cvae_tutorial.baseline import BaselineNet, MaskedBCELoss, baseline_nll, bce_loss, fit, load_tensors, mlp, save_tensors, train_baseline
from cvae_tutorial.cvae import CVAE, Decoder, Encoder, complete_cvae
from cvae_tutorial.data import (MaskImages, Pairs, check_number, check_tensor, choose_device, count_quadrants, find_twins, join_quadrants,
                                load_digits, load_mnist, split_pairs, split_quadrants, visible_mask)
from cvae_tutorial.demo import hide_quadrants
from cvae_tutorial.evaluation import estimate_nll, log_mean_exp, mean_and_stderr
from cvae_tutorial.training import load_net, save_net, shift_digits, shift_images

nan, inf = math.nan, math.inf
quick = settings(max_examples=20, deadline=None)
long = pytest.mark.long

# ---- Round trips and orders ----


@quick
@given(st.lists(st.integers(1, 9), min_size=4, max_size=4), st.booleans(), st.booleans(), st.sampled_from(["pixels", "numbers"]))
def test_nets_come_back_from_their_files(tmp_path_factory, widths, decoder_sees_x, prior_sees_x, likelihood):
    path = tmp_path_factory.mktemp("net")/"net.safetensors"
    z_dim, hidden, x_dim, y_dim = widths
    net = CVAE(z_dim, hidden, hidden, x_dim=x_dim, y_dim=y_dim, decoder_sees_x=decoder_sees_x, prior_sees_x=prior_sees_x, likelihood=likelihood)
    save_net(net, path)
    again = load_net(path)
    assert again.config == net.config and all(torch.equal(w, again.state_dict()[name]) for name, w in net.state_dict().items())


@quick
@given(st.dictionaries(st.text(min_size=1, max_size=5).filter(lambda name: name != "__metadata__"), st.lists(st.floats(width=32, allow_nan=False), max_size=4), max_size=3),
       st.recursive(st.one_of(st.integers(-9, 9), st.text(max_size=5), st.booleans(), st.none()), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)))
def test_tensors_and_their_text_come_back(tmp_path_factory, lists, text):
    path, tensors = tmp_path_factory.mktemp("tensors")/"file", {name: torch.tensor(values) for name, values in lists.items()}
    save_tensors(path, tensors, {"text": text})
    about, again = load_tensors(path)
    assert about == {"text": text} and again.keys() == tensors.keys() and all(torch.equal(again[name], t) for name, t in tensors.items())


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
def test_log_of_a_mean_lies_between_mean_and_maximum_of_logs(values):
    log_w = torch.tensor(values, dtype=torch.float64)
    assert log_w.mean() - 1e-6 <= log_mean_exp(log_w) <= log_w.max() + 1e-6


@quick
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_the_bound_is_never_better_than_importance_sampling(z_dim, samples, seed):
    "On the same draws, by Jensen's inequality; with one draw they are equal"
    torch.manual_seed(seed)
    net, x, y = CVAE(z_dim, 6, 6, x_dim=5, y_dim=7), torch.rand(4, 5), torch.rand(4, 7)
    estimates = estimate_nll(net, x, y, samples)
    assert (estimates["is"] <= estimates["elbo"] + 1e-4).all()
    if samples == 1: torch.testing.assert_close(estimates["is"], estimates["elbo"])


@quick
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_shifts_keep_the_kind_of_puzzle(n, count, seed):
    torch.manual_seed(seed)
    x, y = split_quadrants(torch.rand(count, 28, 28), n)
    moved = shift_digits(x, y)
    assert [part.shape for part in moved] == [x.shape, y.shape] and count_quadrants(*moved) == n


# ---- Whatever is passed: a result, or a ValueError that says something ----

SHAPES = [(), (0,), (3,), (3, 196), (3, 588), (3, 392), (2, 588), (0, 196), (3, 28, 28), (0, 28, 28), (2, 20, 20), (3, 1, 28, 28), (3, 10), (3, 5), (2, 3, 5)]
FILLS = {"0..1": torch.rand, "below 0": lambda s: torch.rand(s) - .5, "NaN": lambda s: torch.full(s, nan), "infinite": lambda s: torch.full(s, inf), "0": torch.zeros,
         "whole": lambda s: torch.ones(s).long(), "bytes": lambda s: torch.full(s, 255).byte(), "bool": lambda s: torch.ones(s).bool(), "double": lambda s: torch.rand(s).double()}
tensors = st.one_of(st.sampled_from(SHAPES).map(torch.rand), st.builds(lambda shape, fill: FILLS[fill](shape), st.sampled_from(SHAPES), st.sampled_from(list(FILLS))),
                    st.sampled_from([None, "x", 1.5, [1., 2.]]))
numbers = st.one_of(st.integers(1, 5), st.integers(-2, 6), st.sampled_from([nan, inf, -inf, .5, 1e-300, 2., True, None, "3", (1,)]))
quadrants = st.one_of(st.integers(1, 3), st.integers(-1, 5), st.sampled_from([nan, None, "1"]))
pairs = st.builds(Pairs, tensors, tensors, st.none(), st.just("test"))
NET, SOME = BaselineNet(6, 6, x_dim=196, y_dim=588), CVAE(5, 6, 6, x_dim=196, y_dim=588)
GOOD = Pairs(torch.rand(3, 196), torch.rand(3, 588), None, "test")


def fitted(train, **kwargs):
    net = BaselineNet(2, 2, x_dim=196, y_dim=588)
    return fit(net, bce_loss(net), train, GOOD, **kwargs)


CALLS = [  # a function, and what its arguments are drawn from
    (visible_mask, quadrants, numbers, numbers), (split_quadrants, tensors, quadrants), (join_quadrants, tensors, tensors.filter(lambda y: isinstance(y, torch.Tensor)) | st.just(-1), quadrants),
    (count_quadrants, tensors, tensors), (load_digits, st.text(max_size=5) | numbers, st.just("sample")), (load_mnist, st.booleans(), st.text(min_size=1, max_size=5)), (find_twins, tensors, tensors, numbers),
    (choose_device, st.text(max_size=5) | st.just("cuda:99")), (split_pairs, tensors, tensors, tensors), (lambda n, image: MaskImages(n)(dict(original=image)), quadrants, tensors),
    (check_number, st.text(max_size=3), numbers, st.integers(-3, 3)), (check_tensor, st.text(max_size=3), tensors, numbers.filter(lambda n: n is None or type(n) is int)),
    (mlp, numbers, numbers, numbers), (BaselineNet, numbers, numbers), (lambda mark, p, target: MaskedBCELoss(mark)(p, target), numbers, tensors, tensors), (NET, tensors), (baseline_nll, st.just(NET), tensors, tensors),
    (lambda p, **k: fitted(p, **k), pairs), (lambda e, b, lr, p: fitted(GOOD, epochs=e, batch_size=b, lr=lr, patience=p), numbers, numbers, numbers, numbers),
    (lambda p, seed: train_baseline(dict(train=p, val=GOOD), hidden=2, epochs=1, seed=seed), pairs, numbers),
    (Encoder, numbers, numbers, numbers), (Decoder, numbers, numbers, numbers), (CVAE, numbers, numbers, numbers), (lambda x, y, likelihood: CVAE(2, 2, 2, x_dim=x, y_dim=y, likelihood=likelihood), numbers, numbers, numbers | st.just("numbers")),
    (SOME.prior, tensors), (SOME.recognition, tensors, tensors), (SOME.generation, tensors, tensors), (SOME.sample, tensors, numbers), (complete_cvae, st.just(SOME), tensors, quadrants, numbers),
    (estimate_nll, st.just(SOME), tensors, tensors, numbers), (lambda rows: estimate_nll(SOME, GOOD.x, GOOD.y, 2, rows=rows), numbers), (log_mean_exp, tensors), (mean_and_stderr, tensors),
    (sharpness.reliability, tensors, tensors, numbers), (sharpness.calibration_error, tensors), (lambda x, S: [*sharpness.draw_means(SOME, x, S)], tensors, numbers), (sharpness.variance_split, st.just(SOME), tensors, numbers),
    (sharpness.pixel_entropy, tensors), (sharpness.gradient_energy, tensors, quadrants), (sharpness.frechet_distance, tensors, tensors), (sharpness.class_scores, tensors, tensors),
    (sharpness.make_followers, tensors, tensors, numbers), (sharpness.floor_and_variance, st.dictionaries(st.integers(1, 9), st.floats(0, 9), max_size=3)), (sharpness.kl_weighted_loss, st.just(SOME), numbers),
    (shift_images, tensors), (shift_digits, tensors, tensors), (hide_quadrants, tensors, st.lists(quadrants, max_size=3)), (variants.hybrid_loss, st.just(SOME), numbers), (variants.importance_weighted_loss, st.just(SOME), numbers),
]
DOCUMENTED = {load_mnist: FileNotFoundError, choose_device: RuntimeError}  # and FloatingPointError, where a loss is not finite


@pytest.mark.parametrize("examples", [400, pytest.param(10_000, marks=long)])
def test_nothing_but_documented_exceptions(examples):
    ended = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=examples < 1000, database=None)
    @given(st.data())
    def call(given_data):
        function, *arguments = given_data.draw(st.sampled_from(CALLS))
        drawn = [given_data.draw(argument) for argument in arguments]
        try: function(*drawn)
        except (ValueError, FloatingPointError, DOCUMENTED.get(function, ValueError)) as error:
            assert len(str(error)) > 10, error
            ended["refused"] += 1
        else: ended["answered"] += 1

    call()
    print(f"{sum(ended.values()):,} calls: {dict(ended)}")
    assert sum(ended.values()) >= examples and min(ended["refused"], ended["answered"]) > .05*examples


@pytest.mark.parametrize("examples", [30, pytest.param(2_000, marks=long)])
def test_files_of_any_content_are_refused(tmp_path, examples):
    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.binary(max_size=200), st.integers(0, 10_000), st.booleans())
    def load(content, place, spoil):
        if spoil:  # a real file with some bytes changed
            whole = bytearray(real)
            whole[place % 600:place % 600 + len(content)] = content
            content = bytes(whole)
        (tmp_path/"net").write_bytes(content)
        try: load_net(tmp_path/"net")
        except ValueError as error: assert str(tmp_path/"net") in str(error)

    save_net(BaselineNet(2, 2, x_dim=2, y_dim=2), tmp_path/"real")
    real = (tmp_path/"real").read_bytes()
    load()
