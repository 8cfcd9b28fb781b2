"Models whose answers are known, in place of a CVAE, and what the tests of CVAE and evaluation share"
import pyro
import pytest
import torch
from pyro.distributions import Normal

from cvae_tutorial.cvae import CVAE, PixelBernoulli
from cvae_tutorial.data import get_pairs


@pytest.fixture(autouse=True)
def no_gradients_and_no_traces():
    with torch.no_grad(): yield
    pyro.clear_param_store()


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


class TwoPictures:
    "Answers with the first of two pictures with a known chance, else with the second, whatever x is"
    def __init__(self, chance, pictures):  # pictures: (2, n) probabilities of ink
        self.cut, self.pictures = Normal(0., 1.).icdf(torch.tensor(chance)), pictures
        self.mean = chance*pictures[0] + (1 - chance)*pictures[1]

    def prior(self, x): return Normal(torch.zeros(len(x), 1), 1.).to_event(1)
    def generation(self, x, z): return PixelBernoulli(torch.where(z < self.cut, *self.pictures)).to_event(1)
    def sample(self, x, num_samples): return self.generation(x, self.prior(x).sample((num_samples,))).mean
