"From records to the tables on the pages"
from cvae_tutorial.reports.tables import draws_table, lead_table, over_seeds, reached, results_table


def test_table():
    "Mean over seeds, error over images, the spread of the seeds, and a hole where nothing was run"
    record = dict(model="cvae", estimator="is", samples=10, stderr=.5, data="sample", params=1_840_000)
    nlls = {(1, 0): 60., (1, 1): 61., (2, 0): 40.}
    table = results_table([record | dict(quadrants=q, seed=seed, nll=nll) for (q, seed), nll in nlls.items()])
    assert "| cvae | importance sampling | 60.5 ± 0.5 | 40.0 ± 0.5 | 1.8 |" in table
    assert "Estimates from 10 draws" in table and "Mean of up to 2 seeds, which differ by at most 1.0" in table and "test, sample, nats" in table
    holed = results_table([record | dict(quadrants=q, seed=0, nll=1., samples=q) for q in (1, 2)])
    assert "| importance sampling | 1.0 ± 0.5 | – | 1.8 |" in holed and "| – | 1.0 ± 0.5 | 1.8 |" in holed  # not averaged over S
    assert "One seed" in holed and "Estimates from 1 or 2 draws" in holed
    assert "Estimates" not in results_table([record | dict(estimator="bce", quadrants=1, seed=0, nll=1., samples=1)])


def test_table_of_draws():
    "One row per model and number of draws, one column per number of quadrants, and how many draws carry the weight"
    record = dict(stderr=.5, seed=0, data="sample")
    table = draws_table([record | dict(model=model, quadrants=q, samples=S, nll=lead + 60. - q - S/100, effective=q + S/10)
                         for model, lead in (("CVAE", 0), ("sharper CVAE", -2)) for q in (1, 2) for S in (1, 100)])
    assert "| model | S | 1 visible | 2 visible |" in table and "| CVAE | 100 | 58.00 | 57.00 |" in table
    assert "| sharper CVAE | 1 | 56.99 | 55.99 |" in table and "Of the plain CVAE's 100 draws about 11, 12 carry the weight" in table


def test_one_seed_has_no_error_over_seeds():
    assert over_seeds([.5]) == "0.500" and over_seeds([.5, .7]) == "0.600 ± 0.100"
    record = dict(seed=0, baseline=90., mean=88., fit=50., divergence=11., cvae=60., pixels=2., agreement=28.)
    table = lead_table([record | dict(quadrants=n) for n in (1, 2, 3)])
    assert "| pixels that agree: mean less CVAE | 28.0 | 28.0 | 28.0 |" in table


def test_a_bar_is_reached_with_every_seed_or_not_at_all():
    def record(source, seed, **values): return dict(source=source, seed=seed, quadrants=1, entropy=90., features=100., coverage=1., nll=97.) | values
    rows = [record(*which) for which in (("baseline", 0), ("baseline", 1))] + [record("real digits", n, features=5., entropy=35.) for n in (0, 1)]
    rows += [record("sharp", n, entropy=40., nll=150.) for n in (0, 1)] + [record("lucky", n, nll=60. + 40*n) for n in (0, 1)]
    made = reached(dict(sharpness=rows))
    assert made["sharp"] == {"pixel entropy": True, "feature distance": False, "coverage": True, "score": False}
    assert not made["lucky"]["score"] and not any(made["baseline"][name] for name in ("pixel entropy", "feature distance", "score"))
