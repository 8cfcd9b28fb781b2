"Estimates of a likelihood against answers that are known some other way"
import math

import pytest
import torch
from doubles import batch, cvae, no_gradients_and_no_traces  # noqa: F401, fixtures
from hypothesis import given, settings, strategies as st
from pyro.infer import Trace_ELBO
from torch.distributions import kl_divergence

from cvae_tutorial.cvae import CVAE
from cvae_tutorial.evaluation import LinearGaussian, estimate_nll, log_mean_exp, mean_and_stderr


def test_estimates_agree_with_pyro(cvae, batch):
    "The library's own ELBO has the mean of Pyro's"
    x, y = batch
    torch.manual_seed(0)
    ours = estimate_nll(cvae, x, y, samples=4000)["elbo"].sum().item()
    pyros = Trace_ELBO(num_particles=4000, vectorize_particles=True, max_plate_nesting=1).loss(cvae.model, cvae.guide, x, y)
    assert ours == pytest.approx(pyros, abs=.05*len(x))
    with torch.no_grad(): kl = kl_divergence(cvae.recognition(x, y), cvae.prior(x)).sum()
    assert kl > len(x)  # so that a bound without its KL would not pass


def test_a_bar_shows_where_it_takes_a_while(monkeypatch):
    "From 100,000 samples of z in all"
    oracle, y, shown = LinearGaussian(), torch.zeros(100, 10), []
    monkeypatch.setattr("cvae_tutorial.evaluation.Bar", lambda batches, desc: shown.append(desc) or batches)
    for samples in 999, 1000, 1001: estimate_nll(oracle, y, y, samples)
    assert shown == ["1000 samples", "1001 samples"]


def kl_to_posterior(oracle):
    "KL(q||p(z|x,y)) of the oracle: two normal distributions with one mean"
    posterior = torch.distributions.MultivariateNormal(torch.zeros(4), oracle.posterior_covariance)
    q = torch.distributions.MultivariateNormal(torch.zeros(4), torch.diag(2.25*oracle.posterior_covariance.diagonal()))
    return kl_divergence(q, posterior).item()


def test_posterior_of_the_oracle():
    "The covariance of z given y, by the formula for two parts of one normal distribution"
    oracle = LinearGaussian(noise=.3)
    by_hand = torch.eye(4) - oracle.W.T @ torch.linalg.solve(oracle.marginal.covariance_matrix, oracle.W)
    assert torch.allclose(oracle.posterior_covariance, by_hand, atol=1e-5)
    y = oracle.marginal.sample((5,))
    mean = torch.linalg.solve(oracle.marginal.covariance_matrix, y.T).T @ oracle.W
    q = oracle.recognition(y, y).base_dist
    assert torch.allclose(q.loc, mean, atol=1e-4) and torch.allclose(q.scale[0], 1.5*by_hand.diagonal().sqrt(), atol=1e-4)


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


def test_no_more_pictures_at_a_time_than_rows():
    "Also where one image has more draws than that"
    class Counted(LinearGaussian):
        most = 0
        def generation(self, x, z):
            self.most = max(self.most, z.shape[:-1].numel())
            return super().generation(x, z)
    torch.manual_seed(0)
    oracle = Counted()
    y = oracle.marginal.sample((3,))
    estimates = estimate_nll(oracle, torch.zeros(3, 1), y, 1000, rows=64)
    assert oracle.most <= 64
    torch.testing.assert_close(estimates["is"], oracle.nll(y), atol=.2, rtol=0)


def test_rows_change_nothing_but_memory():
    "Cut into any number of pieces, the estimates are about the same images in the same order"
    oracle = LinearGaussian()
    y = oracle.marginal.sample((64,))
    whole, pieces = (estimate_nll(oracle, y[:, :1], y, samples=1000, rows=rows)["is"] for rows in (100_000, 3_000))
    assert whole.shape == pieces.shape == (64,)
    assert torch.corrcoef(torch.stack([whole, pieces]))[0, 1] > .99


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
def test_log_of_a_mean_lies_between_mean_and_maximum_of_logs(values):
    log_w = torch.tensor(values, dtype=torch.float64)
    assert log_w.mean() - 1e-6 <= log_mean_exp(log_w) <= log_w.max() + 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_the_bound_is_never_better_than_importance_sampling(z_dim, samples, seed):
    "On the same draws, by Jensen's inequality; with one draw they are equal"
    torch.manual_seed(seed)
    net, x, y = CVAE(z_dim, 6, 6, x_dim=5, y_dim=7), torch.rand(4, 5), torch.rand(4, 7)
    estimates = estimate_nll(net, x, y, samples)
    assert (estimates["is"] <= estimates["elbo"] + 1e-4).all()
    if samples == 1: torch.testing.assert_close(estimates["is"], estimates["elbo"])


def test_mean_and_standard_error_by_hand():
    mean, stderr = mean_and_stderr(torch.tensor([1., 2., 3., 6.]))
    assert mean == 3 and stderr == pytest.approx(((4 + 1 + 0 + 9)/3)**.5/2)
    assert mean_and_stderr(torch.tensor([1., 3.])) == (2, pytest.approx(1)) and math.isnan(mean_and_stderr(torch.ones(1))[1])
