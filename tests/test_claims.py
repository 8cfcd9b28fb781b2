"What the pages say in words, held to the networks in the package and to the results of the full runs"
import json

import pytest
import torch
from conftest import ROOT

from cvae_tutorial.baseline import bce_loss
from cvae_tutorial.constraints import WRITERS
from cvae_tutorial.data import get_pairs
from cvae_tutorial.evaluation import estimate_nll
from cvae_tutorial.evidence import pixel_entropy
from cvae_tutorial.kit.files import load_results
from cvae_tutorial.reports.run import MODELS
from cvae_tutorial.reports.tables import reached
from cvae_tutorial.sharpness import averaging, baseline_variance, calibration_error, draw_means, reliability, variance_split
from cvae_tutorial.training import load_pretrained


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad(): yield


def prose(page: str) -> str:
    "All that stands in the cells of a notebook"
    return "".join(line for cell in json.loads((ROOT/"nbs"/f"{page}.ipynb").read_text(encoding="utf-8"))["cells"] for line in cell["source"])


# ---- Evaluation ----

@pytest.mark.parametrize("n", [1, 2, 3])
def test_pretrained_networks_are_those_of_the_results(n):
    "On the sample's 2,000 test digits they score as `results/mnist/scores.json` says of all 10,000"
    baseline, cvae = load_pretrained(n)
    test = get_pairs(n)["test"]
    torch.manual_seed(0)
    ours = {name: values.mean().item() for name, values in estimate_nll(cvae, test.x, test.y, samples=100).items()}
    ours["bce"] = bce_loss(baseline)(test.x, test.y).item()
    records = [r for r in load_results("mnist/scores") if (r["quadrants"], r["seed"]) == (n, 0) and r["model"] in MODELS]
    assert len(records) == 4
    for record in records:
        stderr = record["stderr"]*5**.5  # of 2,000 digits in place of 10,000
        assert ours[record["estimator"]] == pytest.approx(record["nll"], abs=4*stderr), record


def test_numbers_of_the_evaluation_page_follow_from_the_results():
    "What the evaluation page says in words about its table, from the file behind the table"
    records, page = load_results("mnist/scores"), prose("05_evaluation")
    def mean(quadrants, estimator):
        nlls = [r["nll"] for r in records if (r["quadrants"], r["estimator"]) == (quadrants, estimator) and r["model"] in MODELS]
        assert len(nlls) == 3
        return sum(nlls)/3
    one, two, three = (round(mean(q, "bce") - mean(q, "is")) for q in (1, 2, 3))
    assert f"about {one}, {two} and {three} nats" in page
    assert f"about {one} nats per image with one visible quadrant, {two} with two and {three} with three" in page
    below = [printed - mean(q, "elbo") for q, printed in zip((1, 2, 3), (71.8, 51.0, 24.2))]
    baseline = [printed - mean(q, "bce") for q, printed in zip((1, 2, 3), (100.4, 61.9, 25.4))]
    assert f"{min(below):.1f} to {max(below):.1f} nats lower, and our baseline" in page
    assert f"made of the same layers as our CVAE, {min(baseline):.1f} to {max(baseline):.1f}." in page


# ---- Sharpness, proportions, evidence ----

def test_the_packaged_networks_show_what_the_sharpness_pages_say():
    "The bold statements at small scale, on 100 digits of the sample"
    (baseline, cvae), test = load_pretrained(1), get_pairs(1)["test"]
    x, y = test.x[:100], test.y[:100]
    torch.manual_seed(0)
    guess = baseline(x)
    assert calibration_error(reliability(guess.flatten(), y.flatten())) < .02
    averaged = {K: d.mean().item()**.5 for K, d in averaging(baseline, cvae, x, (1, 256)).items()}
    assert averaged[256] < .45*averaged[1]
    split = {name: v.sum(1).mean().item() for name, v in variance_split(cvae, x).items()}
    assert split["within"] + split["between"] == pytest.approx(split["total"], rel=.01)
    assert split["total"] == pytest.approx(baseline_variance(baseline, x).sum(1).mean().item(), rel=.15)
    one = torch.cat([p[0] for _, p in draw_means(cvae, x, 1)])
    assert pixel_entropy(one).mean() < .65*pixel_entropy(guess).mean()


def values(results, subject, key, **where):
    "One value per seed"
    rows = [r for r in results[subject] if all(r[k] == v for k, v in where.items())]
    assert [r["seed"] for r in rows] == [0, 1, 2]
    return torch.tensor([r[key] for r in rows])


CHEATS = ("baseline", "baseline, pixel samples", "CVAE, mean of 256", "baseline, logits doubled", "baseline, logits tripled",
          "baseline, cut at one half", "nearest training digit", "CVAE, at the prior's mean", "CVAE, for another input", "one picture for all")


def test_no_cheat_is_sharp_and_right(capsys):
    "The table of measures against cheats: with every seed the CVAE reaches each bar, and each cheat fails one"
    made = reached(load_results("mnist/sharpness"))
    with capsys.disabled():
        print()
        for source, bars in made.items(): print(f"{source:28}" + "  ".join(f"{name}: {'yes' if ok else 'no '}" for name, ok in bars.items()))
    for name in "CVAE, decoder means", "CVAE, pixel samples": assert all(made[name].values()), made[name]
    for name in CHEATS: assert not all(made[name].values()), name
    assert set(made) == {"real digits", "CVAE, decoder means", "CVAE, pixel samples", *CHEATS}
    fooled = {bar for name in CHEATS for bar, ok in made[name].items() if ok}
    assert fooled == {"pixel entropy", "feature distance", "coverage"}  # so none of these is evidence by itself


def test_the_numbers_of_the_front_page_are_out_of_reach_of_cheats():
    "A lead of ten nats, of which most is agreement: no single picture has any, and another input's samples are far behind"
    agreement, sharpness = load_results("mnist/agreement"), load_results("mnist/sharpness")["sharpness"]
    for n in (1, 2, 3):
        lead = [r for r in agreement["lead"] if r["quadrants"] == n]
        assert sorted(r["seed"] for r in lead) == [0, 1, 2]
        for r in lead:
            assert r["pixels"] + r["agreement"] == pytest.approx(r["baseline"] - r["cvae"], abs=.01)
            assert r["agreement"] > 20*r["agreement_stderr"] and r["agreement"] > 2*r["pixels"]
            assert r["cvae"] < r["fit"] + r["divergence"] < r["mean"]  # the score, its bound, and independent pixels
    best = min(r["nll"] for r in sharpness if r["quadrants"] == 1 and r["source"] in CHEATS)
    assert best > max(r["nll"] for r in sharpness if r["quadrants"] == 1 and r["source"] == "CVAE, decoder means") + 25
    share = [r["between_digits"]/r["between_pictures"] for r in agreement["classes"] if r["quadrants"] == 1]
    assert len(share) == 3 and max(share) < .1


def test_differences_between_runs_are_as_the_sharpness_pages_say():
    "One visible quadrant, every seed: differences between pictures of one run, not scores on test"
    results = load_results("mnist/sharpness")
    def of(subject, key, **where): return values(results, subject, key, quadrants=1, **where)
    assert (of("averaging", "rms", K=256) <= .40*of("averaging", "rms", K=1)).all()
    entropy = {s: of("sharpness", "entropy", source=s) for s in ("baseline", "CVAE, decoder means")}
    assert (entropy["CVAE, decoder means"] <= .55*entropy["baseline"]).all()
    assert (of("class_mix", "ece", source="CVAE") <= of("class_mix", "ece", source="classifier on visible pixels") + .01).all()
    between = {(r["weight"], r["z_dim"]): r["between"] for r in load_results("mnist/doses")}
    assert between[30, 50] < .05*between[1, 50] and between[.1, 50] > between[1, 50] > between[1, 1]  # the dose and its response
    for r in results["variance"]:
        assert r["within"] + r["between"] == pytest.approx(r["total"], rel=.01) and r["total"] == pytest.approx(r["baseline"], rel=.1)
    after = {r["after"]: [] for r in load_results("mnist/followers")}
    for r in load_results("mnist/followers"):
        if r["prior"] == "normal": after[r["after"]].append(r["zero"])
    assert min(after["even"]) > max(after["odd"]) + .15  # it listens to the question, not enough


# ---- Constraints ----

def test_full_results_hold_what_the_constraints_page_claims():
    "Every seed: what was asked for is read, and the class is not in z unless nobody told it, or the prior did"
    records = load_results("mnist/constraints")
    assert {(r["model"], r["seed"]) for r in records} == {(name, seed) for name in WRITERS for seed in (0, 1, 2)}
    assert {r["data"] for r in records} == {"MNIST"}
    def of(name, key): return [r[key] for r in records if r["model"] == name]
    assert min(of("standard normal prior", "asked")) >= .97
    assert min(min(of(name, "probe")) for name in ("told nothing", "learned prior")) > max(of("standard normal prior", "probe")) + .4


# ---- Fashion ----

@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_cvae_is_ahead_on_garments_and_the_split_adds_up(n):
    scores = load_results("fashion/scores")
    nll = {r["estimator"]: (r["nll"], r["stderr"]) for r in scores if r["quadrants"] == n}
    assert all(r["data"] == "FashionMNIST" for r in scores)
    for estimator in "elbo", "is": assert nll[estimator][0] < nll["bce"][0] - 3*nll["bce"][1]
    for split in load_results("fashion/sharpness")["variance"]:
        assert (split["within"] + split["between"])/split["total"] == pytest.approx(1, abs=.01)


def test_the_gains_on_garments_follow_from_the_results():
    def gain(n):
        nll = {r["estimator"]: r["nll"] for r in load_results("fashion/scores") if r["quadrants"] == n}
        return nll["bce"] - nll["is"]
    assert "{:.1f}, {:.1f} and {:.1f} nats".format(*map(gain, (1, 2, 3))) in prose("17_fashion")
