"Defaults and lists: the weights in the package and the tables on the pages were made with them, so a change of one is a change of both."
from importlib import import_module
from inspect import Parameter, signature

import pytest

from cvae_tutorial import _modidx
from cvae_tutorial.agreement import neighbor_correlation
from cvae_tutorial.answers import AnswersNet, train_answers
from cvae_tutorial.baseline import train_baseline
from cvae_tutorial.best import AutoregressiveNet, PixelNet, train_autoregressive, train_denoising
from cvae_tutorial.constraints import WRITERS, train_writer
from cvae_tutorial.cvae import CVAE
from cvae_tutorial.evidence import coverage
from cvae_tutorial.kit.files import ASSETS, load_results, load_tensors
from cvae_tutorial.masks import train_masked, train_masked_baseline
from cvae_tutorial.reports.families import ANSWERS, BOUNDS, FAMILIES
from cvae_tutorial.scaling import train_in_parallel
from cvae_tutorial.sharper import CHOICES, SHARPER
from cvae_tutorial.sharpness import averaging
from cvae_tutorial.training import train_cvae
from cvae_tutorial.variants import DOSES, VARIANTS


def defaults(f) -> dict: return {name: p.default for name, p in signature(f).parameters.items() if p.default is not Parameter.empty}


def made(name: str) -> list[dict]: return load_results(f"mnist/{name}")


def test_a_seed_is_0_unless_somebody_says_otherwise():
    modules = [import_module(module) for module in _modidx.d["syms"]]
    functions = {f"{module.__name__}.{name}": getattr(module, name) for module in modules for name in module.__all__}
    seeds = {name: defaults(f).get("seed") for name, f in functions.items() if callable(f) and "seed" in signature(f).parameters}
    assert len(seeds) > 20 and {name for name, seed in seeds.items() if seed not in (0, None)} == set()


def test_train_cvae_has_the_cvaes_own_choices():
    for name in "decoder_sees_x", "prior", "likelihood": assert defaults(train_cvae)[name] == defaults(CVAE)[name]


@pytest.mark.parametrize("asset, train", {
    "baseline-q1": train_baseline, "answers-q1": train_answers, "cvae-q1": train_cvae, "cvae-any": train_masked, "baseline-any": train_masked_baseline,
    "autoregressive-q1": AutoregressiveNet, "sharper-q1": lambda z_dim=SHARPER["z_dim"], prior=SHARPER["prior"]: None}.items(), ids=lambda part: part if isinstance(part, str) else "")
def test_the_package_holds_what_the_defaults_make(asset, train):
    config = load_tensors(ASSETS/f"{asset}.safetensors")[0]["config"]
    shared = {name: default for name, default in defaults(train).items() if name in ("hidden", "num_answers", "z_dim", "prior", "memory", "width", "reach", "side")}
    if "prior" not in config: shared.pop("prior", None)  # a file from before the choice
    assert shared
    for name, default in shared.items():
        assert {value for key, value in config.items() if key == name or key.startswith(f"{name}_")} == {default}, name


def test_epochs_are_those_of_the_runs():
    epochs = {r["model"]: r["epochs"] for r in made("masks")["train"]}
    assert [defaults(train)["epochs"] for train in (train_masked_baseline, train_masked)] == [epochs["baseline, any mask"], epochs["CVAE, any mask"]]
    plain = next(r for r in made("baselines") if r["model"] == "the baseline")
    assert defaults(train_baseline)["epochs"] == plain["epochs"] == defaults(train_answers)["epochs"] == FAMILIES["ten answers"].epochs
    for name, train in dict(autoregressive=train_autoregressive, CVAE=train_cvae, **{"flow matching": train_denoising}).items():
        assert defaults(train)["epochs"] == FAMILIES[name].epochs
    for name in "epochs", "hidden", "seed": assert defaults(train_in_parallel)[name] == defaults(train_cvae)[name]
    assert defaults(AnswersNet).keys() <= defaults(train_answers).keys() | {"x_dim", "y_dim"}
    assert {r["epochs"] for r in made("constraints")} == {defaults(train_writer)["epochs"]}
    for name in "width", "reach": assert defaults(PixelNet)[name] == defaults(AutoregressiveNet)[name]


def test_the_tables_hold_what_the_lists_name():
    def found(name, *keys): return {tuple(r[key] for key in keys) for r in made(name)}
    assert found("choices", "prior", "z_dim") == {(c["prior"], c["z_dim"]) for c in CHOICES}
    assert found("doses", "weight", "z_dim") == {(d["weight"], d["z_dim"]) for d in DOSES}
    assert found("answers", "K") == {(K,) for K in ANSWERS}
    assert found("constraints", "model", "weight") == {(name, writer.weight) for name, writer in WRITERS.items()}
    assert {r["model"] for r in made("variants")["use"]} == set(VARIANTS)
    assert {r["model"] for r in made("families")["families"]} == {*FAMILIES, "real digits"}
    assert {(r["quadrants"], r["rounded"]) for r in made("families")["bounds"]} == set(BOUNDS)


@pytest.mark.parametrize("measure, argument, table, key", [
    (neighbor_correlation, "distances", "agreement", "neighbors distance"), (averaging, "counts", "sharpness", "averaging K"), (coverage, "counts", "sharpness", "coverage N")])
def test_measures_were_taken_at_the_default_places(measure, argument, table, key):
    part, key = key.split()
    assert {r[key] for r in made(table)[part]} - {"baseline"} == set(defaults(measure)[argument])
