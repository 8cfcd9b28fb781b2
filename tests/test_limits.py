"Numbers at the edge of what a float holds, and the same numbers in float64 and on another device"
import pyro
import pytest
import torch
from torch.distributions import kl_divergence

from cvae_tutorial.baseline import baseline_nll
from cvae_tutorial.cvae import CVAE, PixelBernoulli
from cvae_tutorial.data import get_pairs
from cvae_tutorial.evaluation import estimate_nll, log_mean_exp
from cvae_tutorial.training import elbo_loss, load_pretrained

EXTREME = torch.tensor([-50., -1e-8, 0., 1e-8, 50.])


@pytest.fixture(scope="module")
def batch():
    val = get_pairs(1)["val"]
    return val.x[:64], val.y[:64]


def test_extreme_logits_give_finite_losses_and_gradients():
    logits = EXTREME.repeat(5).requires_grad_()
    y = torch.tensor([0., 1e-8, .5, 1 - 1e-7, 1.]).repeat_interleave(5)
    log_p = PixelBernoulli(logits=logits).log_prob(y)
    log_p.sum().backward()
    assert log_p.isfinite().all() and logits.grad.isfinite().all()
    torch.testing.assert_close(log_p, PixelBernoulli(logits=logits.double()).log_prob(y.double()).float())
    torch.testing.assert_close(logits.grad, y - logits.detach().sigmoid())  # the known derivative


@pytest.mark.parametrize("net, bias", [("prior_net", -18.), ("prior_net", 18.), ("recognition_net", -18.), ("generation_net", 50.), ("generation_net", -50.)])
def test_extreme_networks_give_finite_bounds(batch, net, bias):
    "exp(-18) is a scale of 1.5e-8"
    torch.manual_seed(0)
    cvae = CVAE(4, 16, 16, x_dim=196, y_dim=588)
    last = getattr(cvae, net).net[-1].bias
    last.data[(4 if net != "generation_net" else 0):] = bias
    loss = elbo_loss(cvae)(*batch)
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in cvae.parameters())


@pytest.mark.parametrize("scale", [1e-8, 1., 50.])
def test_divergence_of_extreme_scales(scale):
    loc, log_scale = torch.zeros(3, requires_grad=True), torch.full((3,), scale).log().requires_grad_()
    def kl(loc, log_scale):
        q, p = torch.distributions.Normal(loc, log_scale.exp()), torch.distributions.Normal(0*loc, 1 + 0*loc)
        return kl_divergence(q, p) + kl_divergence(p, q)
    ours = kl(loc, log_scale)
    ours.sum().backward()
    assert ours.isfinite().all() and loc.grad.isfinite().all() and log_scale.grad.isfinite().all()
    torch.testing.assert_close(ours.double(), kl(loc.double(), log_scale.double()), rtol=1e-5, atol=1e-5)


def test_mean_of_tiny_and_huge_weights():
    log_w = torch.tensor([[-1e4, 1e4, 50.], [-1e4, -1e4, -50.]])
    torch.testing.assert_close(log_mean_exp(log_w), log_mean_exp(log_w.double()).float())


def test_float32_against_float64(batch):
    "The trained networks' losses, on the same draws"
    (baseline, cvae), (x, y) = load_pretrained(1), batch
    z = torch.randn(8, len(x), 50, generator=torch.Generator().manual_seed(0))
    def losses(baseline, cvae, x, y, z):
        q, p = cvae.recognition(x, y), cvae.prior(x)
        return baseline_nll(baseline, x, y), cvae.generation(x, z).log_prob(y), kl_divergence(q.base_dist, p.base_dist).sum(-1)
    with torch.no_grad():
        single = losses(baseline, cvae, x, y, z)
        double = losses(baseline.double(), cvae.double(), x.double(), y.double(), z.double())
    for s, d in zip(single, double): torch.testing.assert_close(s.double(), d, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_against_cuda(batch):
    x, y = batch
    def estimates(device):
        baseline, cvae = load_pretrained(1, device)
        torch.manual_seed(0)
        bce = baseline_nll(baseline, x.to(device), y.to(device)).mean().item()
        return bce, {name: v.mean().item() for name, v in estimate_nll(cvae, x.to(device), y.to(device), 200).items()}
    (cpu_bce, cpu), (cuda_bce, cuda) = estimates("cpu"), estimates("cuda")
    assert cuda_bce == pytest.approx(cpu_bce, rel=1e-4)
    assert cuda["elbo"] == pytest.approx(cpu["elbo"], rel=5e-3) and cuda["is"] == pytest.approx(cpu["is"], rel=5e-3)


@pytest.fixture(autouse=True)
def no_traces():
    yield
    pyro.clear_param_store()
