"The other reading: digits on demand"
import json

import pytest
import torch

from cvae_tutorial.constraints import WRITERS, class_pairs, measure_writer, read_back, writer_pairs, write_digits
from cvae_tutorial.data import get_pairs, join_quadrants
from cvae_tutorial.sharpness import load_classifier


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
    with pytest.raises(ValueError, match="name must be one of"): writer_pairs("nobody", pairs)


class Copyist:
    "Writes the first training digit of each class, whatever the hand"
    def __init__(self, pairs): self.pictures = pairs["train"].y[pairs["train"].x.argmax(0)]
    def parameters(self): yield self.pictures
    def sample(self, x, num_samples, means): return (x @ self.pictures).expand(num_samples, -1, -1)


def test_reading_back_finds_what_was_asked_for(pairs):
    "Real digits are read as themselves, mixed-up ones never"
    copyist, reader = Copyist(pairs), load_classifier()
    assert read_back(copyist, reader, samples=100) >= .9
    copyist.pictures = copyist.pictures.roll(1, 0)
    assert read_back(copyist, reader, samples=100) <= .1


def test_a_hand_writes_every_class(pairs):
    "One row a hand, one column a class, and the class matters"
    from cvae_tutorial.constraints import train_writer
    small = {split: type(p)(p.x[:1000], p.y[:1000], p.digits[:1000], p.source) for split, p in pairs.items()}
    cvae = train_writer("standard normal prior", small, epochs=2)
    images = write_digits(cvae, torch.randn(3, cvae.config["z_dim"]))
    assert images.shape == (3, 10, 28, 28) and (images[:, 0] - images[:, 1]).abs().max() > .1


def test_records_of_a_writer(pairs):
    small = {split: type(p)(p.x[:700], p.y[:700], p.digits[:700], p.source) for split, p in pairs.items()}
    record = measure_writer("told nothing", small, load_classifier(), epochs=1, seed=3)
    assert record["asked"] is None and 0 <= record["probe"] <= 1 and record["kl"] > 0
    assert (record["seed"], record["data"], record["model"]) == (3, "sample", "told nothing")


def test_full_results_hold_what_the_page_claims(request):
    "Every seed: what was asked for is read, and the class is not in z unless nobody told it, or the prior did"
    records = json.loads((request.config.rootpath/"results"/"constraints.json").read_text())
    assert {(r["model"], r["seed"]) for r in records} == {(name, seed) for name in WRITERS for seed in (0, 1, 2)}
    assert {r["data"] for r in records} == {"MNIST"}
    def of(name, key): return [r[key] for r in records if r["model"] == name]
    assert min(of("standard normal prior", "asked")) >= .97
    assert max(of("standard normal prior", "probe")) <= .25
    assert min(of("told nothing", "probe")) >= .6 and min(of("learned prior", "probe")) >= .6
