"The calls of Pyro's CVAE tutorial, with its names, positional arguments and shapes, on grey digits"
import copy

import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from torchvision.transforms import Compose

from cvae_tutorial.baseline import BaselineNet, MaskedBCELoss
from cvae_tutorial.cvae import CVAE, Decoder, Encoder
from cvae_tutorial.data import CVAEMNIST, MaskImages, ToTensor, get_data
from cvae_tutorial.training import elbo_loss
from cvae_tutorial.variants import importance_weighted_loss, kl_weighted_loss


@pytest.fixture(autouse=True)
def checks_on():
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    with pyro.validation_enabled(True): yield


@pytest.mark.parametrize("n", [1, 2, 3])
def test_from_data_to_samples(n):
    datasets, dataloaders, sizes = get_data(n, 64)
    assert sizes == {split: len(datasets[split]) for split in ("train", "val", "test")}
    batches = [batch for batch, _ in zip(dataloaders["train"], range(25))]
    first = batches[0]
    assert {k: tuple(v.shape) for k, v in first.items()} == dict(
        original=(64, 1, 28, 28), digit=(64,), input=(64, 28, 28), output=(64, 28, 28))
    assert ((first["input"] > 0) & (first["input"] < 1)).any()  # grey, as MNIST is

    baseline, loss = BaselineNet(100, 100), MaskedBCELoss()
    optimizer = torch.optim.Adam(baseline.parameters(), 1e-3)
    baseline_losses = []
    for batch in batches:
        optimizer.zero_grad()
        baseline_losses.append(loss(baseline(batch["input"]), batch["output"]))
        baseline_losses[-1].backward()
        optimizer.step()
    assert baseline_losses[-1] < .8*baseline_losses[0]

    before = [p.clone() for p in baseline.parameters()]
    cvae = CVAE(20, 100, 100, baseline)
    svi = SVI(cvae.model, cvae.guide, pyro.optim.Adam({"lr": 1e-3}), loss=Trace_ELBO())
    losses = [svi.step(batch["input"], batch["output"]) for batch in batches]
    assert losses[-1] < .8*losses[0]
    assert all(torch.equal(p, q) for p, q in zip(before, baseline.parameters()))  # training the CVAE leaves it alone

    answers = Predictive(cvae.model, guide=cvae.guide, num_samples=5)(first["input"])
    assert answers["y"].shape == (5, 64, 784) and answers["z"].shape == (5, 64, 20)
    assert ((answers["y"] >= 0) & (answers["y"] <= 1)).all()
    assert not torch.equal(answers["y"][0], answers["y"][1])


@pytest.mark.parametrize("again", [lambda cvae: CVAE(5, 20, 20, BaselineNet(20, 20)), copy.deepcopy], ids=["new", "copy"])
def test_second_cvae_trains_its_own_weights(again):
    "Pyro's parameter store is global: a second network must not train the first one's weights"
    batch = next(iter(get_data(1, 64)[1]["train"]))
    cvae = CVAE(5, 20, 20, BaselineNet(20, 20))
    for _ in range(2):
        before = cvae.generation_net.net[0].weight.clone()
        SVI(cvae.model, cvae.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO()).step(batch["input"], batch["output"])
        assert not torch.equal(before, cvae.generation_net.net[0].weight)
        cvae = again(cvae)


def test_another_mark():
    "mask_with=-2 marks the same pixels, and the loss skips them when told the mark; the CVAE knows -1 alone, and says so"
    transform = lambda mark: Compose([ToTensor(), MaskImages(1, mask_with=mark)])
    one, two = (CVAEMNIST("sample", True, transform(mark))[0] for mark in (-1, -2))
    for key in "input", "output":
        assert torch.equal(one[key] == -1, two[key] == -2) and (two[key] == -2).any() and (two[key] != -2).any()
    ink = torch.rand(1, 784)
    assert MaskedBCELoss(-1)(ink, one["output"]) == MaskedBCELoss(masked_with=-2)(ink, two["output"])

    cvae = CVAE(5, 20, 20)
    for loss in elbo_loss(cvae), kl_weighted_loss(cvae), importance_weighted_loss(cvae):
        assert loss(one["input"].flatten()[None], one["output"].flatten()[None]).isfinite()
        with pytest.raises(ValueError, match="support"): loss(two["input"].flatten()[None], two["output"].flatten()[None])


@pytest.mark.parametrize("n", [0, 4, -1, 2.5, "1"])
def test_wrong_number_of_quadrants(n):
    for make in lambda: MaskImages(n), lambda: get_data(n, 8):
        with pytest.raises(ValueError, match="must be 1, 2 or 3"): make()


def test_networks_alone():
    "Encoder and Decoder with the tutorial's positional arguments"
    loc, scale = Encoder(20, 30, 40)(torch.rand(8, 28, 28), torch.rand(8, 28, 28))
    assert loc.shape == scale.shape == (8, 20) and (scale > 0).all()
    assert Decoder(20, 30, 40)(torch.randn(8, 20)).shape == (8, 784)


def test_a_copy_recognizes_as_the_original_does():
    "Also where pixels are marked, which the recognition network does not see"
    cvae, x, y = CVAE(5, 20, 20), torch.rand(3, 784), torch.rand(3, 784)
    y[:, :100] = -1
    found = [net.recognition(x, y).base_dist.loc for net in (cvae, copy.deepcopy(cvae))]
    assert torch.equal(*found)
