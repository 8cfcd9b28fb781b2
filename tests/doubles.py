"Models whose answers are known, in place of a CVAE"
import torch
from pyro.distributions import Normal

from cvae_tutorial.cvae import PixelBernoulli


class TwoPictures:
    "Answers with the first of two pictures with a known chance, else with the second, whatever x is"
    def __init__(self, chance, pictures):  # pictures: (2, n) probabilities of ink
        self.cut, self.pictures = Normal(0., 1.).icdf(torch.tensor(chance)), pictures
        self.mean = chance*pictures[0] + (1 - chance)*pictures[1]

    def prior(self, x): return Normal(torch.zeros(len(x), 1), 1.).to_event(1)
    def generation(self, x, z): return PixelBernoulli(torch.where(z < self.cut, *self.pictures)).to_event(1)
    def sample(self, x, num_samples): return self.generation(x, self.prior(x).sample((num_samples,))).mean
