"One CVAE for any condition and any target, and the page that shows how to use it on pairs of one's own"
import ast
import builtins
import math
from importlib import import_module

import pytest
import torch
from conftest import ROOT
from pyro.infer import SVI, Predictive, TraceMeanField_ELBO
from pyro.optim import Adam
from test_notebooks import cells

from cvae_tutorial.cvae import CVAE, StandardNormal
from cvae_tutorial.evaluation import estimate_nll
from cvae_tutorial.kit.checkpoints import load_net, save_net
from cvae_tutorial.kit.pairs import split_pairs
from cvae_tutorial.training import train_cvae


@pytest.mark.parametrize("x_dim", [0, 3])
@pytest.mark.parametrize("likelihood", ["pixels", "numbers"])
def test_any_condition_and_target(x_dim, likelihood, tmp_path):
    "From Pyro's loss to samples, scores and a checkpoint; nothing given makes a plain VAE"
    torch.manual_seed(0)
    x, y = torch.rand(40, x_dim), torch.rand(40, 5)
    cvae = CVAE(2, 16, 16, x_dim=x_dim, y_dim=5, likelihood=likelihood)
    assert isinstance(cvae.prior_net, StandardNormal) == (x_dim == 0)
    assert math.isfinite(SVI(cvae.model, cvae.guide, Adam({"lr": 1e-3}), TraceMeanField_ELBO()).step(x, y))
    assert Predictive(cvae.model, guide=cvae.guide, num_samples=3)(x)["y"].shape == (3, 40, 5)
    assert cvae.sample(x, 7).shape == cvae.sample(x, 7, means=False).shape == (7, 40, 5)
    assert all(nll.shape == (40,) for nll in estimate_nll(cvae, x, y, samples=3).values())
    save_net(cvae, tmp_path/"net.safetensors")
    again = load_net(tmp_path/"net.safetensors", CVAE)
    z = torch.randn(40, 2)
    torch.testing.assert_close(again.generation(x, z).log_prob(y), cvae.generation(x, z).log_prob(y))


def test_a_plain_vae_learns_a_normal_distribution():
    "Two correlated numbers, nothing given: importance sampling comes to the entropy, and samples to the covariance"
    truth = torch.distributions.MultivariateNormal(torch.zeros(2), torch.tensor([[1., .8], [.8, 1.]]))
    torch.manual_seed(0)
    pairs = split_pairs(None, truth.sample((7000,)))
    cvae, _ = train_cvae(pairs, likelihood="numbers", z_dim=1, hidden=32, epochs=20, lr=1e-2)
    test = pairs["test"]
    assert estimate_nll(cvae, test.x, test.y)["is"].mean().item() == pytest.approx(truth.entropy().item(), abs=.1)
    torch.testing.assert_close(cvae.sample(test.x, 10, means=False).flatten(0, 1).T.cov(), truth.covariance_matrix, atol=.15, rtol=0)


def exported() -> set[str]:
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "cvae_tutorial").rglob("[!_]*.py")]
    modules = [import_module(".".join(path.parts)) for path in paths]
    return {name for module in modules for name in module.__all__}


@pytest.mark.parametrize("page, first, most, called", [
    ("18_structured", "# how-to", 30, {"split_pairs", "train_cvae", "estimate_nll"}),
    ("14_masks", "# inpainting", 40, {"Pairs", "draw_masks", "train_masked", "complete_masked"})])
def test_how_to_is_short_and_uses_exported_names(page, first, most, called):
    "With its imports. That it runs and what it finds is asserted in the notebook, which nbdev_test runs."
    code = [cell["source"] for cell in cells(ROOT / f"nbs/{page}.ipynb") if cell["cell_type"] == "code"]
    how_to, = (source for source in code if source.startswith(first))
    imports = next(source for source in code if "from cvae_tutorial" in source)
    lines = [line for line in [*imports.splitlines(), *how_to.splitlines()] if line.strip()]
    assert len(lines) < most
    names = [node for node in ast.walk(ast.parse(how_to)) if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    made |= {name for node in ast.walk(ast.parse(how_to)) for name in (getattr(node, "arg", None), isinstance(node, ast.FunctionDef) and node.name) if name}
    used = {node.id for node in names} - made - set(dir(builtins)) - {"torch", "demonstrate"}  # the last stands for one's pairs
    assert called <= used <= exported()
