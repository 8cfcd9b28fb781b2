"Losses of the variants against Pyro's bound, against each other, and against estimates on the same draws"
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

from cvae_tutorial.cvae import CVAE
from cvae_tutorial.evaluation import estimate_nll
from cvae_tutorial.kit.files import load_results
from cvae_tutorial.training import elbo_loss
from cvae_tutorial.variants import VARIANTS, hybrid_loss, importance_weighted_loss, kl_weighted_loss, prior_drawn_loss


@pytest.fixture(autouse=True)
def no_gradients_and_no_traces():
    with torch.no_grad(): yield
    pyro.clear_param_store()


@pytest.fixture
def seeded():
    "Any loss of one small CVAE, on the same pairs and the same draws"
    torch.manual_seed(0)
    cvae, x, y = CVAE(3, 6, 6, x_dim=5, y_dim=7), torch.rand(40, 5), torch.rand(40, 7)
    def value(make, *args):
        torch.manual_seed(1)
        return make(cvae, *args)(x, y).item()
    value.cvae, value.x, value.y = cvae, x, y
    return value


def test_a_weight_of_one_is_the_bound(seeded):
    "The same number as Pyro's on the same draws; each unit more costs the divergence once more"
    bound = seeded(elbo_loss)
    assert seeded(kl_weighted_loss) == pytest.approx(bound, rel=1e-5)
    kl = seeded(kl_weighted_loss, 2) - bound
    assert kl > .01 and seeded(kl_weighted_loss, 30) == pytest.approx(bound + 29*kl, rel=1e-4)


def test_one_weight_of_importance_is_the_bound(seeded):
    "With more the loss is what importance sampling estimates, on the same draws"
    assert seeded(importance_weighted_loss, 1) == pytest.approx(seeded(elbo_loss, Trace_ELBO()), rel=1e-5)
    torch.manual_seed(1)
    estimate = estimate_nll(seeded.cvae, seeded.x, seeded.y, 50)["is"].mean().item()
    assert seeded(importance_weighted_loss, 50) == pytest.approx(estimate, rel=1e-5)


def test_the_hybrid_lies_on_the_line_between_its_ends(seeded):
    assert seeded(hybrid_loss, 1) == pytest.approx(seeded(elbo_loss), rel=1e-6)
    assert seeded(prior_drawn_loss) > 0
    torch.manual_seed(1)
    bound, drawn = elbo_loss(seeded.cvae)(seeded.x, seeded.y), prior_drawn_loss(seeded.cvae)(seeded.x, seeded.y)
    assert seeded(hybrid_loss, .3) == pytest.approx((.3*bound + .7*drawn).item(), rel=1e-5)


@pytest.mark.parametrize("make_loss", [prior_drawn_loss, hybrid_loss])
def test_no_gradient_passes_through_draws_from_a_flow(make_loss):
    with pytest.raises(ValueError, match="the CVAE's prior must be 'normal' or 'standard', not 'flow'"):
        make_loss(CVAE(2, 8, 8, x_dim=4, y_dim=3, prior="flow"))
    guessing = CVAE(2, 8, 8, torch.nn.Linear(4, 3), x_dim=4, y_dim=3)  # a guess of one's own: no `config` says which prior
    assert make_loss(guessing)(torch.rand(5, 4), torch.rand(5, 3)).isfinite()


@pytest.mark.parametrize("make_loss", [kl_weighted_loss, prior_drawn_loss, importance_weighted_loss])
def test_broken_weights_make_a_loss_that_is_no_number(make_loss):
    "Where Pyro's own checks would stop, without the step and the step size that `fit` names"
    cvae = CVAE(2, 8, 8, x_dim=4, y_dim=3)
    for weight in cvae.prior_net.parameters(): torch.nn.init.constant_(weight, torch.nan)
    assert make_loss(cvae)(torch.rand(5, 4), torch.rand(5, 3)).isnan()


def test_variants_change_what_they_say():
    assert {name for name, variant in VARIANTS.items() if variant.sees_guess} == {"prior sees the guess"}
    assert {name for name, variant in VARIANTS.items() if variant.rounded} == {"black and white"}
    encoded = {r["model"] for r in load_results("mnist/variants")["scores"] if r["estimator"] in ("elbo", "is")}
    assert {name for name, variant in VARIANTS.items() if variant.encodes} == encoded
