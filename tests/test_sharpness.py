"The claims of the sharpness page: on models whose answer is known, on the packaged networks, and in the results of the full runs"
import json
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from pyro.distributions import Normal

from cvae_tutorial.cvae import PixelBernoulli
from cvae_tutorial.data import get_pairs, join_quadrants, split_quadrants
from cvae_tutorial.sharpness import (averaging, baseline_variance, calibration_error, class_mix, class_scores, coverage, draw_means,
                                     finite_sample_scores, floor_and_variance, gradient_energy, load_classifier, make_followers,
                                     pixel_entropy, reliability, set_temperature, train_classifier, variance_split)
from cvae_tutorial.training import load_pretrained, shift_digits

chances = st.floats(.1, .9)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad(): yield


class TwoPictures:
    "A CVAE that answers with the first of two pictures with a known chance, else with the second, whatever x is"
    def __init__(self, chance, pictures):  # pictures: (2, n) probabilities of ink
        self.cut, self.pictures = Normal(0., 1.).icdf(torch.tensor(chance)), pictures
        self.mean = chance*pictures[0] + (1 - chance)*pictures[1]

    def prior(self, x): return Normal(torch.zeros(len(x), 1), 1.).to_event(1)
    def generation(self, x, z): return PixelBernoulli(torch.where(z < self.cut, *self.pictures)).to_event(1)


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


def test_best_of_many_finds_the_picture():
    torch.manual_seed(0)
    model = TwoPictures(.9, torch.eye(2))
    best = coverage(model, torch.zeros(400, 1), torch.eye(2)[1].expand(400, -1))  # the truth is the rare picture
    for N, d in best.items(): assert d.mean().item() == pytest.approx(.9**N, abs=.06)


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


def test_temperature():
    "Logits that are three times too large are found out"
    torch.manual_seed(0)
    net = torch.nn.Module()
    net.net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(10, 10))
    net.net[1].weight.copy_(torch.eye(10)*3), net.net[1].bias.zero_()
    net.logits = lambda x: net.net(x)
    x = torch.randn(20_000, 10)
    digits = x.softmax(1).multinomial(1)[:, 0]
    assert set_temperature(net, x, digits) == pytest.approx(3, abs=.15)
    torch.testing.assert_close(net.logits(x), x, atol=.3, rtol=0)


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


def test_followers_come_in_the_proportion_asked_for():
    val = get_pairs(1)["val"]
    images = join_quadrants(val.x, val.y, 1)
    pairs = make_followers(images, val.digits, chance=.7)
    zeros = images[val.digits == 0].flatten(1)
    is_zero = (torch.cdist(pairs.y, zeros).min(1).values < .1).float().mean().item()
    assert is_zero == pytest.approx(.7, abs=.04)
    assert torch.equal(make_followers(images, val.digits).y, pairs.y)


def test_shifted_digits_are_the_digits_moved():
    "The visible and the hidden part move together, by at most a pixel, and all nine moves occur"
    images = torch.zeros(500, 28, 28)
    images[:, 13, 13] = 1
    torch.manual_seed(0)
    moved = join_quadrants(*shift_digits(*split_quadrants(images, 1)), 1)
    _, rows, columns = moved.nonzero().T
    assert len(rows) == 500 and set(zip(rows.tolist(), columns.tolist())) == {(r, c) for r in (12, 13, 14) for c in (12, 13, 14)}


def test_the_packaged_networks_show_what_the_page_says():
    "The bold statements at small scale, on 100 digits of the sample"
    (baseline, cvae), test = load_pretrained(1), get_pairs(1)["test"]
    x, y = test.x[:100], test.y[:100]
    torch.manual_seed(0)
    guess = baseline(x)
    assert calibration_error(reliability(guess.flatten(), y.flatten())) < .02
    averaged = {K: d.mean().item()**.5 for K, d in averaging(baseline, cvae, x, (1, 256)).items()}
    assert averaged[256] < .45*averaged[1]
    split = {name: v.sum(1).mean().item() for name, v in variance_split(cvae, x).items()}
    assert split["within"] + split["between"] == pytest.approx(split["total"], rel=.01)
    assert split["total"] == pytest.approx(baseline_variance(baseline, x).sum(1).mean().item(), rel=.15)
    one = torch.cat([p[0] for _, p in draw_means(cvae, x, 1)])
    assert pixel_entropy(one).mean() < .65*pixel_entropy(guess).mean()


def test_a_classifier_is_calibrated_and_better_than_chance():
    pairs = get_pairs(1)
    with torch.enable_grad(): net = train_classifier(pairs, epochs=3)
    scores, _ = class_scores(net.logits(pairs["test"].x).softmax(1), pairs["test"].digits)
    assert scores.mean() < 1
    top, named = net.logits(pairs["test"].x).softmax(1).max(1)
    assert calibration_error(reliability(top, (named == pairs["test"].digits).float(), 15)) < .06


@pytest.fixture(scope="module")
def results(request):
    return json.loads((request.config.rootpath/"results"/"sharpness.json").read_text())


def values(results, subject, key, **where):
    "One value a seed"
    rows = [r for r in results[subject] if all(r[k] == v for k, v in where.items())]
    assert [r["seed"] for r in rows] == [0, 1, 2]
    return torch.tensor([r[key] for r in rows])


def test_full_results_hold_what_the_page_claims(results):
    "One visible quadrant, every seed"
    def of(subject, key, **where): return values(results, subject, key, quadrants=1, **where)
    assert (of("averaging", "rms", K=256) <= .40*of("averaging", "rms", K=1)).all()
    for n in (1, 2, 3):
        within, between, total, base = (values(results, "variance", k, quadrants=n) for k in ("within", "between", "total", "baseline"))
        torch.testing.assert_close(within + between, total, rtol=.01, atol=0)
        torch.testing.assert_close(total, base, rtol=.10, atol=0)
    entropy = {s: of("sharpness", "entropy", source=s) for s in ("baseline", "CVAE, decoder means")}
    assert (entropy["CVAE, decoder means"] <= .55*entropy["baseline"]).all()
    mix, visible = (of("class_mix", "log_score", source=s) for s in ("CVAE", "classifier on visible pixels"))
    assert (mix <= 1.03*visible).all()
    assert (of("class_mix", "ece", source="CVAE") <= .03).all()
    assert abs(values(results, "known_proportions", "zero").mean() - .7) <= .03
    dead = values(results, "failures", "between", training="KL weight 30")
    assert (dead < .05*values(results, "failures", "between", training="KL weight 1")).all()
