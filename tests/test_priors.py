"What the shape of the prior changes: the measurements at small scale, and the tables of the page Sharper"
import pytest
import torch

from cvae_tutorial.cvae import CVAE
from cvae_tutorial.data import get_pairs, join_quadrants
from cvae_tutorial.evaluation import estimate_nll
from cvae_tutorial.kit.files import load_results
from cvae_tutorial.kit.fitting import seeded
from cvae_tutorial.kit.pairs import Pairs, random_rows
from cvae_tutorial.reader import doubtful, load_classifier, train_classifier
from cvae_tutorial.reports.priors import choices_table, measure_prior, sharper_table
from cvae_tutorial.reports.trials import measure_dose, measure_followers
from cvae_tutorial.sharper import load_sharper, missed
from cvae_tutorial.training import load_pretrained


@pytest.fixture(scope="module")
def pairs():
    return {split: Pairs(p.x[:600], p.y[:600], p.digits[:600], p.source) for split, p in get_pairs(1).items()}


def test_a_flow_that_bends_nothing_is_measured_like_any_prior(pairs):
    "Untrained beside trained: both have all subjects, and the trained one is ahead where it must be"
    torch.manual_seed(0)
    opponent, reader = train_classifier(pairs, epochs=2), load_classifier()
    nets = {"trained": load_pretrained(1)[1], "untrained": CVAE(3, 16, 16, x_dim=196, y_dim=588, prior="flow")}
    records = {name: measure_prior(name, net, reader, opponent, pairs, 1, seed=2) for name, net in nets.items()}
    for name, found in records.items():
        assert {(r["model"], r["quadrants"], r["seed"], r["data"]) for rows in found.values() for r in rows} == {(name, 1, 2, "sample")}
        assert [r["source"] for r in found["origins"]] == ["prior", "center", "recognition", "real digits"]
        assert [r["digit"] for r in found["by_digit"]] == list(range(10))
    def of(name, subject, key, **where): return next(r[key] for r in records[name][subject] if r.items() >= where.items())
    assert of("trained", "scores", "nll", estimator="is") < of("untrained", "scores", "nll", estimator="is") - 100
    assert of("trained", "origins", "doubtful", source="prior") < of("untrained", "origins", "doubtful", source="prior")
    assert of("trained", "whole", "divergence") > 5 and 0 <= of("trained", "whole", "missed") <= of("untrained", "whole", "missed")
    counts = torch.bincount(pairs["test"].digits, minlength=10)
    by_digit = sum(r["doubtful"]*n for r, n in zip(records["trained"]["by_digit"], counts))/600  # each of the 600 once
    assert by_digit == pytest.approx(of("trained", "origins", "doubtful", source="prior"))


def test_missed_answers_by_hand():
    likely, mix = torch.full((3, 10), .1), torch.full((3, 10), .1)
    mix[0, 7], likely[2, 7] = .009, .09
    digits = torch.tensor([7, 7, 7])
    assert missed(mix, likely, digits) == .5  # of the first two, since the third is not likely


def test_doses_and_followers_take_a_prior(pairs):
    dose = measure_dose(1., 4, pairs, load_classifier(), prior="flow", epochs=1, count=300)
    assert (dose["prior"], dose["z_dim"]) == ("flow", 4) and dose["divergence"] > -1
    assert {r["prior"] for r in measure_followers(load_classifier(), pairs, count=200, epochs=1, prior="flow")} == {"flow"}


def test_the_packaged_one_is_sharper():
    "On random validation digits of the sample: a better score, and fewer doubtful pictures"
    val, reader = get_pairs(1)["val"], load_classifier()
    some = random_rows(len(val.x), 400)
    x, y = val.x[some], val.y[some]
    nets = load_pretrained(1)[1], load_sharper()
    with seeded(0), torch.no_grad():
        plain, sharper = (estimate_nll(net, x, y, 50)["is"].mean() for net in nets)
        doubt, less = (doubtful(reader, join_quadrants(x, net.sample(x, 8), 1)).mean() for net in nets)
    assert sharper < plain and less < doubt


def test_tables_say_what_the_records_say():
    made, plain, agreement = (load_results(f"mnist/{name}") for name in ("sharper", "sharpness", "agreement"))
    share = next(r for r in made["origins"] if r["model"] == "CVAE" and r["source"] == "real digits")["doubtful"]
    table = sharper_table(made, plain, agreement)
    assert f"{share:.1%}" in table and len([line for line in table.splitlines() if line.startswith("|")]) == 15
    assert [line.split("|")[2].strip() for line in choices_table(load_results("mnist/choices")).splitlines()[2:6]] == ["50", "20", "50", "20"]


def test_full_results_hold_what_the_page_claims():
    "One visible quadrant, each seed against the plain CVAE of the same seed: score, pictures and proportions together"
    made, scores, plain, agreement = (load_results(f"mnist/{name}") for name in ("sharper", "scores", "sharpness", "agreement"))
    def one(rows, key, **where): return {r["seed"]: r[key] for r in rows if r.items() >= (dict(quadrants=1) | where).items()}
    ours, means = dict(model="sharper CVAE"), dict(source="CVAE, decoder means")
    pairs = {"score": (one(made["scores"], "nll", estimator="is", **ours), one(scores, "nll", model="cvae", estimator="is"), 1.),
             "feature distance": (one(made["sharpness"], "features", **means), one(plain["sharpness"], "features", **means), 1.5),
             "doubtful": (one(made["doubt"], "z, prior"), one(agreement["doubt"], "z, prior"), .02),
             "log score": (one(made["class_mix"], "log_score", source="CVAE"), one(plain["class_mix"], "log_score", source="CVAE"), .01)}
    for name, (sharper, before, by) in pairs.items():
        assert len(sharper) >= 1 and all(sharper[seed] < before[seed] - by for seed in sharper), (name, sharper, before)
    def critic(results): return max(r["accuracy"] for r in results["critic"] if r["source"] == "CVAE, pixel samples")
    assert .6 < critic(made) < critic(agreement)  # the best of the seeds, since a critic's accuracy is a lower bound
    for subject, most in ("averaging", .45), ("coverage", .7):  # the average still walks back, and the truth is still covered
        rms = [r["rms"] for r in made[subject] if r["quadrants"] == 1 and r.get("K", r.get("N")) in (1, 256)]
        assert max(rms[1::2]) < most*min(rms[::2])
