"The measurements behind the tables: records that say what they are, and random numbers left alone"
from dataclasses import replace

import pytest
import torch

from cvae_tutorial.baseline import BaselineNet
from cvae_tutorial.constraints import class_pairs
from cvae_tutorial.cvae import CVAE
from cvae_tutorial.data import get_pairs
from cvae_tutorial.evaluation import completion_rows, estimate_nll
from cvae_tutorial.kit.pairs import Pairs
from cvae_tutorial.reader import load_classifier
from cvae_tutorial.reports.measures import evaluate, measure_draws, measure_variant, measure_writer


@pytest.fixture(scope="module")
def pairs():
    "The sample with one visible quadrant, cut to 1,000 digits per split"
    return {split: replace(p, x=p.x[:1000], y=p.y[:1000], digits=p.digits[:1000]) for split, p in get_pairs(1).items()}


def test_figures_and_scores_leave_the_random_numbers_alone(pairs):
    baseline, cvae = BaselineNet(20, 20, x_dim=196, y_dim=588), CVAE(5, 20, 20, x_dim=196, y_dim=588)
    test = replace(pairs["test"], x=pairs["test"].x[:10], y=pairs["test"].y[:10])
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    evaluate(baseline, cvae, test, samples=2)
    completion_rows(baseline, cvae, test.x, test.y, 1, 2)
    assert torch.equal(torch.rand(3), expected)


def test_variants_are_scored_as_what_they_are(pairs):
    "No estimate from a recognition network that nobody trained, and a baseline of its own for other pixels"
    small = {split: Pairs(p.x[:300], p.y[:300], p.digits[:300], p.source) for split, p in pairs.items()}
    baseline = BaselineNet(20, 20, x_dim=196, y_dim=588)
    def measured(name): return measure_variant(name, small, baseline, epochs=1, count=20)
    scored = {name: measured(name) for name in ("z from the prior", "black and white", "prior sees the guess")}
    def rows(name): return [(r["model"], r["estimator"], r["data"]) for r in scored[name][1]]
    assert rows("z from the prior") == [("z from the prior", "prior_mc", "sample")] and scored["z from the prior"][2]["kl"] == []
    rounded = "sample, black and white"
    assert rows("black and white") == [("baseline, black and white", "bce", rounded), *(
        ("black and white", estimator, rounded) for estimator in ("elbo", "prior_mc", "is"))]
    assert scored["prior sees the guess"][0].baseline_net is baseline
    assert all(len(use["kl"]) == 50 and use["within"] > 0 for name, (_, _, use) in scored.items() if name != "z from the prior")
    assert scored["black and white"][2]["grey"] == 0 < scored["z from the prior"][2]["grey"] < 30
    assert {r["split"] for _, records, _ in scored.values() for r in records} == {"val"}


def test_records_of_a_writer(pairs):
    small = {split: Pairs(p.x[:700], p.y[:700], p.digits[:700], p.source) for split, p in class_pairs(pairs).items()}
    record = measure_writer("told nothing", small, load_classifier(), epochs=1, seed=3)
    assert record["asked"] is None and 0 <= record["probe"] <= 1 and record["kl"] > 0
    assert (record["seed"], record["data"], record["model"]) == (3, "sample", "told nothing")


def test_more_draws_bring_the_estimate_down(pairs):
    "With one draw it is the bound, and its effective size 1; each number of draws is the first of the most"
    torch.manual_seed(0)
    cvae, test = CVAE(5, 20, 20, x_dim=196, y_dim=588), replace(pairs["test"], x=pairs["test"].x[:50], y=pairs["test"].y[:50])
    records = measure_draws(cvae, test, (1, 10, 100), seed=2, quadrants=1)
    assert [r["samples"] for r in records] == [1, 10, 100] and {(r["quadrants"], r["seed"], r["data"]) for r in records} == {(1, 2, "sample")}
    nlls = [r["nll"] for r in records]
    assert nlls[0] > nlls[1] > nlls[2] and records[0]["effective"] == pytest.approx(1) and 1 < records[2]["effective"] <= 100
    elbo, importance = (estimate_nll(cvae, test.x, test.y, 100)[name].mean().item() for name in ("elbo", "is"))
    assert nlls[2] == pytest.approx(importance, abs=1) and nlls[0] == pytest.approx(elbo, abs=3)
