"A prior with several hills: its density against the change of variables by hand, its divergence against a formula, and every use of a CVAE"
import math

import pyro
import pytest
import torch
import torch.nn as nn
from pyro.infer import Predictive, Trace_ELBO, TraceMeanField_ELBO

from cvae_tutorial.baseline import BaselineNet
from cvae_tutorial.cvae import CVAE, Encoder
from cvae_tutorial.data import get_pairs
from cvae_tutorial.evaluation import estimate_nll
from cvae_tutorial.kit.flows import FlowPrior, center, divergence
from cvae_tutorial.kit.pairs import random_rows
from cvae_tutorial.sharper import load_sharper
from cvae_tutorial.training import elbo_loss
from cvae_tutorial.variants import importance_weighted_loss, kl_weighted_loss, latent_use


@pytest.fixture
def cvae():
    "A small one whose prior is bent"
    torch.manual_seed(0)
    net = CVAE(5, 16, 16, x_dim=196, y_dim=588, prior="flow")
    for w in net.prior_net.couplings.parameters(): nn.init.normal_(w, std=.1)
    return net


@pytest.fixture
def batch(): return torch.rand(8, 196), torch.rand(8, 588)


def test_density_is_a_change_of_variables(cvae, batch):
    "log p(z) = log p(start) - log |det dz/dstart|, with the determinant from autograd and the mixture as a sum"
    x = batch[0][:1]
    p, start = cvae.prior(x), torch.randn(1, 5)
    def bend(start):
        for step in p.transforms: start = step(start)
        return start
    z, jacobian = bend(start), torch.autograd.functional.jacobian(bend, start)[0, :, 0]
    hills, weights = p.base_dist.component_distribution.base_dist, p.base_dist.mixture_distribution.probs
    each = torch.distributions.Normal(hills.loc, hills.scale).log_prob(start[:, None]).sum(-1).exp()
    by_hand = (weights*each).sum(-1).log() - jacobian.slogdet().logabsdet
    torch.testing.assert_close(p.log_prob(z), by_hand, rtol=1e-4, atol=1e-4)
    assert (z - start).abs().max() > .1  # it bends at all


def test_divergence_of_a_flow_with_one_straight_hill_is_the_formula():
    "The estimate from draws against torch's closed form, within four standard errors"
    torch.manual_seed(0)
    q, x = Encoder(3, 8, 8, x_dim=6, y_dim=0).distribution(torch.rand(2000, 6)), torch.rand(2000, 6)
    flow = FlowPrior(lambda outputs: nn.Linear(6, outputs), 3, hills=1).distribution(x)
    one = flow.base_dist.component_distribution.base_dist
    normal = torch.distributions.Independent(torch.distributions.Normal(one.loc[:, 0], one.scale[:, 0]), 1)
    torch.testing.assert_close(center(flow), normal.mean)
    apart = divergence(q, flow) - divergence(q, normal)
    assert apart.shape == (2000,) and apart.mean().abs() < 4*apart.std()/math.sqrt(2000)


@pytest.mark.parametrize("make", [elbo_loss, kl_weighted_loss, lambda net: elbo_loss(net, Trace_ELBO())],
                         ids=["TraceMeanField_ELBO", "by hand", "Trace_ELBO"])
def test_the_bound_is_one_number_however_computed(cvae, batch, make):
    torch.manual_seed(1)
    q, p = cvae.recognition(*batch), cvae.prior(batch[0])
    z = q.rsample()
    by_hand = (q.log_prob(z) - p.log_prob(z) - cvae.generation(batch[0], z).log_prob(batch[1])).mean()
    torch.manual_seed(1)
    torch.testing.assert_close(make(cvae)(*batch), by_hand, rtol=1e-5, atol=1e-3)


def test_every_use_of_a_cvae(cvae, batch):
    x, y = batch
    nll = estimate_nll(cvae, x, y, 10)
    assert all(values.isfinite().all() for values in nll.values())
    assert cvae.sample(x, 3).shape == (3, 8, 588)
    assert latent_use(cvae, x, y)["kl"].shape == (1,)
    assert importance_weighted_loss(cvae)(x, y) < 1000
    assert Predictive(cvae.model, guide=cvae.guide, num_samples=4)(x)["y"].shape == (4, 8, 588)
    with pytest.raises(Exception, match="prior"): CVAE(5, 8, 8, prior="several")


def test_pyro_trains_the_flow_too(cvae, batch):
    "All of its weights stand in Pyro's store, and move"
    pyro.clear_param_store()
    before = {name: w.clone() for name, w in cvae.prior_net.named_parameters()}
    svi = pyro.infer.SVI(cvae.model, cvae.guide, pyro.optim.Adam(dict(lr=1e-3)), TraceMeanField_ELBO())
    for _ in range(2): svi.step(*batch)
    assert all(not torch.equal(w, before[name]) for name, w in cvae.prior_net.named_parameters())


@pytest.mark.parametrize("z_dim, x_dim", [(1, 6), (7, 6), (2, 1)])
def test_odd_dimensions(z_dim, x_dim):
    net = CVAE(z_dim, 8, 8, x_dim=x_dim, y_dim=5, prior="flow")
    assert net.sample(torch.rand(3, x_dim), 2).shape == (2, 3, 5)
    assert estimate_nll(net, torch.rand(3, x_dim), torch.rand(3, 5), 7)["is"].isfinite().all()


def test_a_flow_needs_some_x():
    with pytest.raises(ValueError, match="choose 'normal'"): CVAE(2, 8, 8, x_dim=0, y_dim=5, prior="flow")


def test_the_guess_of_a_baseline_reaches_the_flow():
    net = CVAE(2, 8, 8, BaselineNet(4, 4, x_dim=6, y_dim=5), x_dim=6, y_dim=5, prior="flow")
    x = torch.rand(3, 6)
    before = net.prior(x).base_dist.component_distribution.mean
    with torch.no_grad(): net.baseline_net.net[-1].bias.add_(1)
    assert not torch.equal(net.prior(x).base_dist.component_distribution.mean, before)


def test_the_packaged_prior_knows_where_answers_are():
    "Importance sampling on 100 real digits; about 60 nats on all of them"
    pairs = get_pairs(1)["test"]
    some = random_rows(len(pairs.x), 100)
    torch.manual_seed(0)
    assert 55 < estimate_nll(load_sharper(), pairs.x[some], pairs.y[some], 20)["is"].mean() < 66
