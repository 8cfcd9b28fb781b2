"What the model sees and what it must predict: masks, halves that make a whole, samples and loaders"
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image
from torch.utils.data import DataLoader, Subset

from cvae_tutorial.data import CVAEMNIST, MaskImages, ToTensor, find_ambiguous, find_plain, get_data, get_pairs, join_quadrants, split_quadrants, visible_mask
from cvae_tutorial.kit.mnist import load_digits, load_mnist

quadrants = st.integers(1, 3)


def test_quadrants_are_where_the_tutorial_says():
    "1: bottom left; 2: left half; 3: all but the bottom right"
    ones = dict(original=torch.ones(1, 28, 28), digit=0)
    seen = {n: MaskImages(n)(ones)["input"] != -1 for n in (1, 2, 3)}
    corners = {n: [bool(m[r, c]) for r in (0, 27) for c in (0, 27)] for n, m in seen.items()}
    assert corners == {1: [False, False, True, False], 2: [True, False, True, False], 3: [True, True, True, False]}


@given(quadrants, st.integers(2, 40), st.integers(2, 40))
def test_masks_partition_every_image(n, height, width):
    image = torch.rand(3, height, width)
    sample = MaskImages(n)(dict(original=image[:, None], digit=0))
    visible, hidden = sample["input"] != -1, sample["output"] != -1
    assert (visible ^ hidden).all()
    assert torch.equal(torch.where(visible, sample["input"], sample["output"]), image)
    assert torch.equal(visible[0], visible_mask(n, height, width))


@given(quadrants, st.integers(0, 5))
def test_split_and_join_are_inverse(n, count):
    images = torch.rand(count, 28, 28)
    x, y = split_quadrants(images, n)
    assert x.shape == (count, 196*n) and y.shape == (count, 784 - 196*n)
    assert torch.equal(join_quadrants(x, y, n), images)


def test_transform_takes_what_torchvision_gives():
    "A PIL image, an array, a tensor; one image or a batch"
    images = load_mnist(root="sample").images[:3]
    of = lambda original: ToTensor()(dict(original=original, digit=7))["original"]
    assert torch.equal(of(images), torch.stack([of(Image.fromarray(image.numpy())) for image in images]))
    assert torch.equal(of(images[0].numpy()), of(images[0])) and of(images[0]).shape == (1, 28, 28)
    assert of(images).max() <= 1 and of(np.zeros((28, 28), np.uint8)).max() == 0


def test_loaders_of_ones_own():
    "The dataset works one sample at a time, in a plain DataLoader, in a Subset, and in a worker process"
    dataset = get_data(1, 8)[0]["val"]
    whole = dataset[[0, 1, 2, 3]]
    for data in dataset, Subset(dataset, range(4)), pickle.loads(pickle.dumps(dataset)):
        batch = next(iter(DataLoader(data, batch_size=4)))
        assert all(torch.equal(batch[key], whole[key]) for key in whole)
    assert dataset[0]["input"].shape == (28, 28) and len(CVAEMNIST("sample")) == len(load_mnist(True, "sample").images)


def test_ambiguous_and_plain_inputs_by_hand():
    "Enough ink, nine twins nearer than the median, and the digits of these"
    pairs = get_pairs(1)
    x, train = pairs["val"].x[:2000], pairs["train"]
    distances, order = torch.cdist(x, train.x).sort(1)
    fair = (x.sum(1) > 20) & (distances[:, 8] < distances[:, 8].median())
    shares = torch.stack([(train.digits[order[:, :9]] == digit).float().mean(1) for digit in range(10)], 1)
    entropy = -(shares*shares.clamp(min=1e-9).log()).sum(1)
    found = find_ambiguous(pairs, 100)
    assert fair[found].all()
    torch.testing.assert_close(entropy[found], entropy[fair].sort(descending=True).values[:100])
    varied = train.y[order[:, :9]].var(1).sum(1)
    found, alike = find_plain(pairs, 100), fair & (shares.amax(1) == 1)
    assert alike[found].all()
    torch.testing.assert_close(varied[found], varied[alike].sort(descending=True).values[:100])


def test_loaders_deal_every_digit_once():
    "The last batch is smaller; training digits in another order each epoch, validation digits in theirs"
    datasets, loaders, sizes = get_data(1, 700)
    for split in "train", "val":
        digits = [[batch["digit"].flatten() for batch in loaders[split]] for _ in range(2)]
        dealt = [torch.cat(batches) for batches in digits]
        known = torch.tensor([int(d) for d in load_digits(split, "sample").digits])
        assert len(dealt[0]) == sizes[split] == len(known) and len(digits[0][-1]) == sizes[split] % 700
        assert all(torch.equal(d.sort().values, known.sort().values) for d in dealt)
        assert torch.equal(*dealt) == (split == "val")


def test_no_more_ambiguous_inputs_than_there_are():
    pairs = get_pairs(1)
    assert len(find_ambiguous(pairs, 100)) == len(find_plain(pairs, 100)) == 100
    for find in find_ambiguous, find_plain:
        with pytest.raises(ValueError, match=r"count must be .* at most \d+, not 1500"): find(pairs, 1500)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64, torch.bool])
def test_pixels_of_any_type_become_shares_of_ink(dtype):
    image = torch.rand(28, 28).double() > .5
    whole = image.to(dtype)*255 if dtype in (torch.uint8, torch.int64) else image.to(dtype)
    made = ToTensor()(dict(original=whole, digit=3))["original"]
    assert made.dtype == torch.float32 and torch.equal(made[0], image.float())
