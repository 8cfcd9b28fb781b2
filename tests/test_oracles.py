"The mathematics against answers that are known some other way"
import math

import pyro
import pytest
import torch
from hypothesis import given, settings, strategies as st
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import Bernoulli, Normal, kl_divergence

from cvae_tutorial.baseline import MaskedBCELoss
from cvae_tutorial.cvae import CVAE, PixelBernoulli
from cvae_tutorial.data import MaskImages, get_pairs, join_quadrants, split_quadrants, visible_mask
from cvae_tutorial.evaluation import LinearGaussian, estimate_nll

quadrants = st.integers(1, 3)


@pytest.fixture(scope="module")
def batch():
    val = get_pairs(1)["val"]
    return val.x[:64], val.y[:64]


@pytest.fixture
def cvae():
    "An untrained CVAE, whose prior and recognition network disagree a little"
    torch.manual_seed(0)
    net = CVAE(8, 32, 32, x_dim=196, y_dim=588)
    for encoder in net.prior_net, net.recognition_net: encoder.net[-1].weight.mul_(.6)
    return net


def kl_by_hand(q, p):
    "KL between normal distributions with independent dimensions, from its formula"
    return (torch.log(p.scale/q.scale) + (q.variance + (q.loc - p.loc)**2)/(2*p.variance) - .5).sum(-1)


def test_kl_term(cvae, batch):
    "The KL in Pyro's bound is the textbook formula, and torch's"
    x, y = batch
    q, p = cvae.recognition(x, y).base_dist, cvae.prior(x).base_dist
    of_torch = kl_divergence(Normal(q.loc, q.scale), Normal(p.loc, p.scale)).sum(-1)
    torch.testing.assert_close(kl_by_hand(q, p), of_torch)
    assert of_torch.mean() > 1  # nats: far above the rounding below
    torch.manual_seed(0)
    fit_term = cvae.generation(x, cvae.recognition(x, y).rsample()).log_prob(y).sum()
    torch.manual_seed(0)
    negative_elbo = TraceMeanField_ELBO().loss(cvae.model, cvae.guide, x, y)
    assert negative_elbo + fit_term.item() == pytest.approx(kl_by_hand(q, p).sum().item(), rel=1e-3, abs=.05)


def test_elbo_is_a_sum_by_hand(cvae, batch):
    "Trace_ELBO's number, from the cross-entropy of each pixel and the density of each z written out"
    x, y = batch
    torch.manual_seed(3)
    q, p = cvae.recognition(x, y).base_dist, cvae.prior(x).base_dist
    z = q.rsample()
    ink = cvae.generation_net(z, x).double()
    log_y = (y*ink.log() + (1 - y)*(1 - ink).log()).sum()
    log_normal = lambda z, d: (-.5*((z - d.loc)/d.scale)**2 - d.scale.log() - .5*math.log(2*math.pi)).sum()
    by_hand = log_y + log_normal(z, p) - log_normal(z, q)
    torch.manual_seed(3)
    assert -Trace_ELBO().loss(cvae.model, cvae.guide, x, y) == pytest.approx(by_hand.item(), rel=1e-5)


def test_estimates_agree_with_pyro(cvae, batch):
    "The library's own ELBO has the mean of Pyro's"
    x, y = batch
    torch.manual_seed(0)
    ours = estimate_nll(cvae, x, y, samples=4000)["elbo"].sum().item()
    pyros = Trace_ELBO(num_particles=4000, vectorize_particles=True, max_plate_nesting=1).loss(cvae.model, cvae.guide, x, y)
    assert ours == pytest.approx(pyros, abs=.05*len(x))
    with torch.no_grad(): kl = kl_divergence(cvae.recognition(x, y), cvae.prior(x)).sum()
    assert kl > len(x)  # so that a bound without its KL would not pass


@pytest.mark.parametrize("seed", range(3))
def test_importance_sampling_finds_the_truth(seed):
    "On a model with a known likelihood: rising with S, never above the truth but for noise, and right in the end"
    oracle = LinearGaussian(seed=seed)
    torch.manual_seed(seed)
    y = oracle.marginal.sample((2000,))
    x, truth = torch.zeros(2000, 1), oracle.nll(y)
    estimates = {S: estimate_nll(oracle, x, y, S) for S in (1, 10, 100, 1000)}
    log_p = [-estimates[S]["is"].mean().item() for S in (1, 10, 100, 1000)]
    assert log_p[0] < log_p[1] < log_p[2] < log_p[3] + .01
    assert log_p[3] == pytest.approx(-truth.mean().item(), abs=.05)
    assert estimates[1]["is"].mean() == pytest.approx(estimates[1]["elbo"].mean())
    gap = kl_to_posterior(oracle)
    assert (estimates[1000]["elbo"] - truth).mean() == pytest.approx(gap, abs=.05)  # the gap that the tutorial derives


def test_prior_monte_carlo_finds_the_truth():
    "On a model so small that draws from the prior suffice"
    oracle = LinearGaussian(y_dim=2, z_dim=1, noise=1.)
    torch.manual_seed(0)
    y = oracle.marginal.sample((1000,))
    estimates, truth = estimate_nll(oracle, y, y, samples=1000), oracle.nll(y).mean().item()
    assert estimates["prior_mc"].mean().item() == pytest.approx(truth, abs=.02)
    assert estimates["is"].mean().item() == pytest.approx(truth, abs=.02)
    assert estimates["elbo"].mean().item() > truth + .1


def kl_to_posterior(oracle):
    "KL(q||p(z|x,y)) of the oracle: two normal distributions with one mean"
    posterior = torch.distributions.MultivariateNormal(torch.zeros(4), oracle.posterior_covariance)
    q = torch.distributions.MultivariateNormal(torch.zeros(4), torch.diag(2.25*oracle.posterior_covariance.diagonal()))
    return kl_divergence(q, posterior).item()


def test_rows_change_nothing_but_memory():
    "Cut into any number of pieces, the estimates are about the same images in the same order"
    oracle = LinearGaussian()
    y = oracle.marginal.sample((64,))
    whole, pieces = (estimate_nll(oracle, y[:, :1], y, samples=1000, rows=rows)["is"] for rows in (100_000, 3_000))
    assert whole.shape == pieces.shape == (64,)
    assert torch.corrcoef(torch.stack([whole, pieces]))[0, 1] > .99


@given(quadrants, st.integers(2, 40), st.integers(2, 40))
def test_masks_partition_every_image(n, height, width):
    image = torch.rand(3, height, width)
    sample = MaskImages(n)(dict(original=image[:, None], digit=0))
    visible, hidden = sample["input"] != -1, sample["output"] != -1
    assert (visible ^ hidden).all()
    assert torch.equal(torch.where(visible, sample["input"], sample["output"]), image)
    assert torch.equal(visible[0], visible_mask(n, height, width))


@given(quadrants, st.integers(0, 5))
def test_split_and_join_are_inverse(n, count):
    images = torch.rand(count, 28, 28)
    x, y = split_quadrants(images, n)
    assert x.shape == (count, 196*n) and y.shape == (count, 784 - 196*n)
    assert torch.equal(join_quadrants(x, y, n), images)


@settings(max_examples=30)
@given(st.floats(-20, 20), st.floats(0, 1))
def test_pixel_bernoulli(logit, grey):
    "A coin on black and white, a straight line between the two on grey, nothing on a marked pixel"
    logit = torch.tensor(logit)
    ours, coin = PixelBernoulli(logits=logit, validate_args=True), Bernoulli(logits=logit)
    zero, one = torch.tensor(0.), torch.tensor(1.)
    torch.testing.assert_close(ours.log_prob(one), coin.log_prob(one))
    between = grey*coin.log_prob(one) + (1 - grey)*coin.log_prob(zero)
    torch.testing.assert_close(ours.log_prob(torch.tensor(grey, dtype=torch.float32)), between, rtol=1e-4, atol=1e-5)
    assert ours.log_prob(torch.tensor(-1.)) == 0
    with pytest.raises(ValueError): ours.log_prob(torch.tensor(255.))


@given(quadrants, st.sampled_from([-1., -2., 9.]))
def test_masked_loss_is_the_loss_of_the_hidden_pixels(n, mark):
    images, ink = torch.rand(2, 5, 28, 28)
    sample = MaskImages(n, mask_with=mark)(dict(original=images[:, None], digit=0))
    hidden = ~visible_mask(n)
    expected = torch.nn.functional.binary_cross_entropy(ink[:, hidden], images[:, hidden], reduction="sum")
    torch.testing.assert_close(MaskedBCELoss(masked_with=mark)(ink.flatten(1), sample["output"]), expected)


@pytest.fixture(autouse=True)
def no_gradients_and_no_traces():
    with torch.no_grad(): yield
    pyro.clear_param_store()
