"The other reading: digits on demand"
import pytest
import torch

from cvae_tutorial.constraints import class_pairs, read_back, train_writer, write_digits, writer_pairs
from cvae_tutorial.data import get_pairs, join_quadrants
from cvae_tutorial.reader import load_classifier


@pytest.fixture(scope="module")
def pairs():
    return class_pairs(get_pairs(1))


def test_what_is_given_and_what_is_drawn(pairs):
    "The class and the whole digit; a plain VAE gets the digit alone"
    for split, p in get_pairs(1).items():
        assert torch.equal(pairs[split].x.argmax(1), p.digits) and (pairs[split].x.sum(1) == 1).all()
        assert torch.equal(pairs[split].y, join_quadrants(p.x, p.y, 1).flatten(1))
    nothing = writer_pairs("told nothing", pairs)["val"]
    assert nothing.x.shape == (len(nothing.y), 0) and torch.equal(nothing.y, pairs["val"].y)
    with pytest.raises(ValueError, match="name must be .*, not 'nobody'"): writer_pairs("nobody", pairs)


class Copyist:
    "Writes the first training digit of each class, whatever the hand"
    def __init__(self, pairs): self.pictures, self.drawn = pairs["train"].y[pairs["train"].x.argmax(0)], []
    def parameters(self): yield self.pictures
    def sample(self, x, num_samples, means):
        self.drawn.append(num_samples)
        return (x @ self.pictures).expand(num_samples, -1, -1)


def test_reading_back_finds_what_was_asked_for(pairs):
    "Real digits are read as themselves, mixed-up ones never"
    copyist, reader = Copyist(pairs), load_classifier()
    assert read_back(copyist, reader, samples=100) >= .9
    for samples in 50, 150:
        copyist.drawn.clear()
        assert read_back(copyist, reader, samples) >= .9 and sum(copyist.drawn) == samples
    copyist.pictures = copyist.pictures.roll(1, 0)
    assert read_back(copyist, reader, samples=100) <= .1


def test_a_hand_writes_every_class(pairs):
    "One row per hand, one column per class, and the class matters"
    small = {split: type(p)(p.x[:1000], p.y[:1000], p.digits[:1000], p.source) for split, p in pairs.items()}
    cvae = train_writer("standard normal prior", small, epochs=2)
    images = write_digits(cvae, torch.randn(3, cvae.config["z_dim"]))
    assert images.shape == (3, 10, 28, 28) and (images[:, 0] - images[:, 1]).abs().max() > .1
