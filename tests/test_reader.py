"The reader of digits: calibrated, and better than chance"
import pytest
import torch

from cvae_tutorial.data import get_pairs
from cvae_tutorial.proportions import class_scores
from cvae_tutorial.reader import DigitClassifier, doubtful, set_temperature, train_classifier
from cvae_tutorial.sharpness import calibration_error, reliability


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad(): yield


def test_temperature():
    "Logits that are three times too large are found out"
    torch.manual_seed(0)
    net = torch.nn.Module()
    net.net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(10, 10))
    net.net[1].weight.copy_(torch.eye(10)*3), net.net[1].bias.zero_()
    net.logits = lambda x: net.net(x)
    x = torch.randn(20_000, 10)
    digits = x.softmax(1).multinomial(1)[:, 0]
    assert set_temperature(net, x, digits) == pytest.approx(3, abs=.15)
    torch.testing.assert_close(net.logits(x), x, atol=.3, rtol=0)


def test_a_classifier_is_calibrated_and_better_than_chance():
    pairs = get_pairs(1)
    with torch.enable_grad(): net = train_classifier(pairs, epochs=3)
    scores, _ = class_scores(net.logits(pairs["test"].x).softmax(1), pairs["test"].digits)
    assert scores.mean() < 1
    top, named = net.logits(pairs["test"].x).softmax(1).max(1)
    assert calibration_error(reliability(top, (named == pairs["test"].digits).float(), 15)) < .06


def test_one_picture_is_read_as_one_of_many():
    torch.manual_seed(0)
    reader, images = DigitClassifier(), torch.rand(2, 3, 28, 28)
    assert reader.features(images).shape == (2, 3, 128) and doubtful(reader, images[0, 0]).shape == ()
    torch.testing.assert_close(reader.features(images[0, 0]), reader.features(images)[0, 0])
