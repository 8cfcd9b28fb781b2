"The CVAE and its bound against sums by hand, formulas and torch's own distributions"
import math

import pytest
import torch
from doubles import batch, cvae, no_gradients_and_no_traces  # noqa: F401, fixtures
from hypothesis import given, settings, strategies as st
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import Bernoulli, Normal, kl_divergence

from cvae_tutorial.cvae import CVAE, PixelBernoulli, loc_and_scale


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


@pytest.mark.parametrize("log_scale", [-1e4, 1e4])
def test_scales_stay_finite_and_above_zero(log_scale):
    "Whatever the network says: exp alone would give 0 or infinity, and a loss that is no number"
    loc, scale = loc_and_scale(torch.tensor([[0., log_scale]]))
    assert 0 < scale.item() < torch.inf and torch.distributions.Normal(loc, scale).log_prob(loc).isfinite()


def test_numbers_are_scored_by_the_normal_density():
    torch.manual_seed(0)
    cvae = CVAE(2, 16, 16, x_dim=3, y_dim=5, likelihood="numbers")
    x, y, z = torch.rand(8, 3), 10*torch.randn(8, 5), torch.randn(8, 2)
    loc, log_scale = cvae.generation_net.outputs(z, x).chunk(2, -1)
    by_hand = (-.5*((y - loc)/log_scale.exp())**2 - log_scale - .5*math.log(2*math.pi)).sum(1)
    torch.testing.assert_close(cvae.generation(x, z).log_prob(y), by_hand)
    torch.testing.assert_close(cvae.generation_net(z, x), loc)


def test_means_and_pixels_of_one_sample():
    "One switch: by default the means of p(y|x,z), else draws of y, which have these means"
    torch.manual_seed(0)
    net, x = CVAE(2, 6, 6, x_dim=3, y_dim=5), torch.rand(2, 3)
    means, drawn = (net.sample(x, 20_000, means=switch) for switch in (True, False))
    assert means.shape == drawn.shape == (20_000, 2, 5) and torch.equal(drawn, drawn.round()) and not torch.equal(means, means.round())
    torch.testing.assert_close(drawn.mean(0), means.mean(0), atol=.02, rtol=0)
    torch.manual_seed(1)
    default = net.sample(x, 3)
    torch.manual_seed(1)
    assert torch.equal(default, net.sample(x, 3, means=True))


def test_a_decoder_that_sees_z_alone():
    "It has no weights for x, and another x changes nothing; by default it has, and changes"
    z, (x, other) = torch.randn(4, 5), torch.rand(2, 4, 7)
    blind, seeing = (CVAE(5, 8, 8, x_dim=7, y_dim=6, decoder_sees_x=sees) for sees in (False, True))
    assert blind.generation_net.net[0].in_features == 5 and seeing.generation_net.net[0].in_features == 12
    assert torch.equal(blind.generation(x, z).mean, blind.generation(other, z).mean)
    assert (seeing.generation(x, z).mean - seeing.generation(other, z).mean).abs().max() > 1e-3


def test_recognition_sees_the_answer_and_takes_marks_for_paper():
    net, x, y = CVAE(5, 8, 8, x_dim=7, y_dim=6), torch.rand(4, 7), torch.rand(4, 6).clamp(.1, .9)
    def seen(y): return net.recognition(x, y).base_dist.loc
    marked, paper = y.clone(), y.clone()
    marked[:, 2], paper[:, 2] = -1, 0
    assert torch.equal(seen(marked), seen(paper)) and (seen(paper) - seen(y)).abs().max() > 1e-3
    numbers = CVAE(5, 8, 8, x_dim=7, y_dim=6, likelihood="numbers")
    assert (numbers.recognition(x, marked).base_dist.loc - numbers.recognition(x, paper).base_dist.loc).abs().max() > 1e-3
