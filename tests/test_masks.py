"One network for every mask"
import shutil
from types import SimpleNamespace

import pytest
import torch

from cvae_tutorial.data import visible_mask
from cvae_tutorial.kit.files import ASSETS, load_results
from cvae_tutorial.kit.pairs import Pairs
from cvae_tutorial.masks import MIXTURE, complete_masked, draw_masks, get_images, hide, load_masked, masked_nll, train_masked
from cvae_tutorial.reader import load_classifier
from cvae_tutorial.reports.masks import MARKS, marks_table, masked_nets, measure_consistency, quadrants_table, run_masks
from cvae_tutorial.reports.reproduce import Runs


@pytest.fixture(scope="module")
def nets():
    return load_masked()


def test_masks_of_a_mixture_come_in_its_shares():
    "Quadrants and whole pictures can be told from the others, so they can be counted"
    torch.manual_seed(0)
    masks = draw_masks(4000)
    quadrants = sum((masks == visible_mask(n)).flatten(1).all(1).float().mean().item() for n in (1, 2, 3))
    assert quadrants == pytest.approx(MIXTURE["quadrants"], abs=.03)
    assert (~masks).flatten(1).all(1).float().mean().item() == pytest.approx(MIXTURE["everything"], abs=.02)
    assert sum(MIXTURE.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", MIXTURE)
@pytest.mark.parametrize("size", [(28, 28), (5, 40)])
def test_every_kind_has_every_size(kind, size):
    torch.manual_seed(0)
    masks = draw_masks(300, *size, mixture={kind: 1.})
    assert masks.shape == (300, *size) and masks.dtype == torch.bool
    different = len(masks.flatten(1).unique(dim=0))
    assert different == {"quadrants": 3, "everything": 1}.get(kind, different) and (different > 200 or kind in ("quadrants", "everything"))
    assert draw_masks(1, *size).shape == (1, *size)


def test_a_half_plane_has_a_straight_border_and_a_rectangle_four_corners():
    "Along a row a half plane changes once at most, a rectangle twice; and a rectangle's rows are all alike or all one"
    torch.manual_seed(0)
    def changes(mask): return (mask[:, :, 1:] != mask[:, :, :-1]).sum(2).amax(1)
    assert changes(draw_masks(500, mixture={"half planes": 1.})).max() == 1
    rectangles = draw_masks(500, mixture={"rectangles": 1.})
    assert changes(rectangles).max() == 2
    assert all(len(mask.unique(dim=0)) <= 2 for mask in rectangles)
    def product(mask): return (mask == mask.any(1, keepdim=True) & mask.any(0)).all()
    places = torch.stack([mask if product(mask) else ~mask for mask in rectangles]).float().mean(0)
    for dim in 0, 1: assert (places - places.flip(dim)).abs().max() < .15  # none leans to a side


def test_completion_keeps_what_is_visible(nets):
    torch.manual_seed(0)
    digits, masks = get_images("sample")["test"].x[:50], draw_masks(50)
    made = complete_masked(nets[1], digits, masks, 3)
    assert torch.equal(made[:, masks], digits[masks].expand(3, -1)) and not torch.equal(made[0], made[1])
    assert torch.equal(complete_masked(nets[1], digits, torch.ones(28, 28, dtype=torch.bool), 1)[0], digits)


def test_hidden_pixels_cannot_leak(nets):
    "Other pixels behind the same mask, and the answer is the same"
    torch.manual_seed(0)
    digits, masks = get_images("sample")["test"].x[:50], draw_masks(50)
    others = torch.where(masks, digits, torch.rand(50, 28, 28))
    torch.manual_seed(1)
    first = complete_masked(nets[1], digits, masks)
    torch.manual_seed(1)
    assert torch.equal(complete_masked(nets[1], others, masks)[0][~masks], first[0][~masks])


def test_more_is_visible_less_is_open(nets):
    "Each image by each network: nats fall from nothing visible to three quadrants; a net that is told nothing says what digits look like"
    digits, read = get_images("sample")["test"].x[:300], load_classifier()
    masks = [torch.zeros(28, 28, dtype=torch.bool), *(visible_mask(n) for n in (1, 2, 3))]
    nats = [masked_nll(nets[0], *hide(digits, mask)).mean().item() for mask in masks]
    assert nats == sorted(nats, reverse=True) and nats[0] > 2*nats[2]
    torch.manual_seed(0)
    said = read.logits(complete_masked(nets[1], digits, masks[0])[0]).argmax(1).bincount(minlength=10)
    assert said.min() >= 9 and said.max() <= 75  # of 300: every digit is drawn


def test_pictures_of_another_size_learn():
    "Stripes: what is hidden follows from what is visible"
    torch.manual_seed(0)
    stripes = torch.rand(4000, 1, 6).round().expand(4000, 5, 6)
    data = {split: Pairs(part, part, None, "stripes") for split, part in zip(("train", "val"), stripes.split([3900, 100]))}
    cvae, history = train_masked(data, hidden=64, z_dim=6, prior="normal", augment=None, epochs=15, batch_size=50,
                                 draw=lambda *size: draw_masks(*size, mixture={"half planes": 1.}))
    assert min(r["val"] for r in history) < .6*history[0]["val"]
    top = torch.tensor([[True]*6]*2 + [[False]*6]*3)
    made = complete_masked(cvae, data["val"].x, top)[0]
    assert ((made > .5) == data["val"].x)[:, 2:].float().mean() > .97


def test_the_runs_resume_and_their_records_say_what_they_are(tmp_path):
    "All of it at small scale: every table of the page, and the nets for the package; a second call reads what the first made"
    shutil.copy(ASSETS / "classifier.safetensors", tmp_path / "sample-classifier.safetensors")
    runs = Runs(tmp_path, "sample", 1, "cpu", count=20)
    few = {split: Pairs(d.x[:300], d.y[:300], d.digits[:300], d.source) for split, d in get_images("sample").items()}
    assert masked_nets(runs, 0) == {}
    made = run_masks(runs, few, 0)
    assert [(r["model"], r["quadrants"], r["epochs"]) for r in made["train"]] == [
        ("baseline, any mask", 0, 2), ("CVAE, any mask", 0, 2), *(("CVAE, one mask", n, 2) for n in (1, 2, 3))]
    assert {(r["model"], r["estimator"]) for r in made["quadrants"]} == {("baseline, any mask", "bce"), *(
        (model, estimator) for model in ("CVAE, any mask", "CVAE, one mask") for estimator in ("is", "elbo", "prior_mc"))}
    assert "| CVAE, one for every mask | " in quadrants_table(load_results("mnist/scores"), made["quadrants"])
    assert {r["series"]: r["hidden"] for r in made["shares"] if r["share"] == 0} == {"pixels": 784, "curtain": 784}
    assert all(0 <= r[key] <= 1 for r in made["shares"] for key in ("right", "known", "doubtful")) and all(r["data"] == "sample" for r in made["shares"])
    hidden = [r["hidden"] for r in made["shares"] if r["series"] == "curtain"]
    assert hidden == sorted(hidden, reverse=True) and made["consistency"][0]["count"] == 20
    assert [r["mark"] for r in made["marks"]] == [*MARKS] and marks_table(made["marks"]).count("\n") == 6
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert run_masks(runs, few, 0) == made and {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("holds", [True, False])
def test_two_ways_to_one_answer_agree_where_there_is_one_joint(nets, holds):
    "An oracle whose pictures are all ink or all paper: it tosses a coin, unless it sees the top right; one that then says ink in any case is caught"
    torch.manual_seed(0)
    digits = get_images("sample")["test"].x[:40]

    def sample(x, num_samples, means=True):
        corner = x[:, 27]
        ink = torch.where(corner == 0, torch.rand(num_samples, len(x)).round(), (corner > 0).float() if holds else 1.)
        return ink[..., None].expand(-1, -1, 784)
    found = measure_consistency(nets[0], SimpleNamespace(sample=sample), load_classifier(), Pairs(digits, None, None, "oracle"), count=40)
    assert found["noise_direct"] < .06 and found["single"] == pytest.approx(.5, abs=.02)
    assert found["apart"] < 2*found["chance"] < .1 if holds else found["apart"] == pytest.approx(.5, abs=.05)
