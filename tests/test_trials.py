"The runs that could have refuted the story, at small scale"
import math
from dataclasses import replace

import pytest
import torch

from cvae_tutorial.data import get_pairs
from cvae_tutorial.kit.fitting import seeded
from cvae_tutorial.kit.pairs import Pairs
from cvae_tutorial.reader import load_classifier
from cvae_tutorial.reports.trials import ONE_ANSWERS, measure_agreement, measure_dose, measure_empty, measure_followers
from cvae_tutorial.reports.trials import measure_one_answer, told_class, train_one_answer
from cvae_tutorial.training import load_pretrained


@pytest.fixture(scope="module")
def pairs():
    return {split: Pairs(p.x[:600], p.y[:600], p.digits[:600], p.source) for split, p in get_pairs(1).items()}


def test_whoever_is_told_the_digit_knows_more(pairs):
    "Where nothing is visible, the digit is all that one can know"
    blind = {split: replace(p, x=0*p.x) for split, p in pairs.items()}
    told = told_class(blind)
    assert told["val"].x.shape == (600, 206) and torch.equal(told["val"].x[:, 196:].argmax(1), pairs["val"].digits)
    recipes = {name: train_one_answer(ONE_ANSWERS[name], p, epochs=60)[1] for name, p in (("the baseline", blind), ("told the true digit", told))}
    best = {name: min(r["val"] for r in history) for name, history in recipes.items()}
    assert best["told the true digit"] < best["the baseline"] - 2


def test_a_guess_is_of_a_classifier_that_was_fitted_to_other_digits(pairs):
    "Halves whose digits contradict each other: each is told what the other holds"
    train, val = pairs["train"], pairs["val"]
    with seeded(3): _, ones = torch.randperm(len(train.x)).chunk(2)
    digits = torch.zeros(len(train.x), dtype=torch.int64).index_fill(0, ones, 1)
    split = dict(train=replace(train, digits=digits), val=replace(val, digits=torch.arange(len(val.x)) % 2), test=pairs["test"])
    told = told_class(split, guessed=True, seed=3)
    assert (told["train"].x[:, 196:].argmax(1) == 1 - digits).float().mean() > .9  # its own classifier: below .1
    sums = torch.cat([p.x[:, 196:].sum(1) for p in told.values()])
    assert torch.allclose(sums, torch.ones(()), atol=1e-5) and not any(p.x.requires_grad for p in told.values())


@pytest.mark.parametrize("name", [name for name in ONE_ANSWERS if "told" not in name])
def test_every_recipe_learns(pairs, name):
    net, history = train_one_answer(ONE_ANSWERS[name], pairs, epochs=10)
    assert history[-1]["val"] < 300 < 588*math.log(2)
    with torch.no_grad(): assert net(pairs["val"].x[:2]).shape == (2, 588)


def test_records_say_what_they_are(pairs):
    "Each trial at small scale, with its facts, and no record of a critic where none was asked for"
    nets, reader = load_pretrained(1), load_classifier()
    records = measure_agreement(*nets, reader, pairs, 1, seed=3, count=300, critics=())
    assert {(r["quadrants"], r["seed"], r["data"]) for rows in records.values() for r in rows} == {(1, 3, "sample")} and records["critic"] == []
    (lead,), (doubt,), (classes,) = (records[subject] for subject in ("lead", "doubt", "classes"))
    assert lead["baseline"] > lead["mean"] - 3 > lead["cvae"] + 20 and lead["fit"] < lead["cvae"]
    assert doubt["z, real"] < doubt["z, prior"] and 0 < classes["between_digits"] < .2*classes["between_pictures"]
    near = {r["source"]: r["correlation"] for r in records["neighbors"] if r["distance"] == 1}
    assert near["CVAE, given z"] < near["baseline"]
    empty = measure_empty(nets[1], pairs, samples=200)
    assert empty["count"] == sum((p.x.sum(1) == 0).sum() for p in pairs.values()) and 0 < empty["cvae"] and 0 < empty["apart"]
    dose = measure_dose(30., 5, pairs, reader, epochs=1, count=300)
    assert dose["divergence"] > 0 and (dose["weight"], dose["z_dim"], dose["data"]) == (30, 5, "sample")
    even, odd = measure_followers(reader, pairs, count=200, epochs=1)
    assert (even["after"], odd["after"]) == ("even", "odd") and all(0 <= r["zero"] <= 1 for r in (even, odd))
    one = measure_one_answer("told a guessed digit", pairs, epochs=1)
    assert one["val"] > 100 and one["model"] == "told a guessed digit" and one["params"] > 6e5
