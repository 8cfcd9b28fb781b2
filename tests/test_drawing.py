"Drawing: ink, paper and card where they belong, labels beside their rows, and curves that fill their axes"
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from cvae_tutorial.kit.drawing import COLORS, plot_axes, plot_history, save_picture, show_digits


@pytest.fixture(autouse=True)
def off_screen():
    matplotlib.use("agg")
    yield
    plt.close("all")


def test_a_pixel_is_ink_paper_or_card():
    image = torch.zeros(28, 28)
    image[0, :4] = torch.tensor([.25, -1, 1, 2])
    drawn = np.asarray(show_digits(image[None]).images[0].get_array())
    assert drawn.shape == (30, 30, 3)
    for (row, column), color in {(1, 1): (.75,)*3, (1, 2): to_rgb(COLORS["hidden"]), (1, 3): (0.,)*3, (1, 4): (0.,)*3, (1, 5): (1.,)*3}.items():
        assert drawn[row, column] == pytest.approx(color, abs=1e-6)
    for border in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]): assert (border == 1).all()


def test_digits_fill_the_figure_and_labels_stand_beside_their_rows():
    ax = show_digits(dict(above=torch.zeros(3, 28, 28), below=torch.ones(3, 28, 28)), .5)
    drawn = np.asarray(ax.images[0].get_array())
    assert drawn.shape == (60, 90, 3) and ax.get_position().bounds == (0, 0, 1, 1) and ax.figure.get_size_inches().tolist() == [1.5, 1.]
    assert drawn[15, 15].tolist() == [1]*3 and drawn[45, 45].tolist() == [0]*3
    assert ax.get_yticks().tolist() == [15, 45] and [label.get_text() for label in ax.get_yticklabels()] == ["above", "below"]
    assert not len(ax.get_xticks()) and not any(spine.get_visible() for spine in ax.spines.values())


def test_a_saved_picture_is_the_one_that_is_shown(tmp_path):
    save_picture({"": torch.ones(1, 28, 28)}, tmp_path/"black.png")
    pixels = plt.imread(tmp_path/"black.png")[..., :3]
    assert (pixels.mean(2) < .01).mean() > .4 and pixels.max() == 1 and not plt.get_fignums()


def test_axes_have_two_sides_and_fill_the_figure():
    ax = plot_axes(3, 2, xlabel="epoch", ylim=(0, 5))
    assert ax.get_position().bounds == (0, 0, 1, 1) and ax.figure.get_size_inches().tolist() == [3, 2]
    assert {side for side, spine in ax.spines.items() if spine.get_visible()} == {"left", "bottom"} and ax.get_xlabel() == "epoch" and ax.get_ylim() == (0, 5)


@pytest.mark.parametrize("val, top", [([100., 50, 30, 29, 28], 52), ([90.], 92), ([100.]*2 + [60.]*4 + [30.]*14, 62)])
def test_a_history_shows_all_but_the_steepest_epochs(val, top):
    "One epoch, or fewer than a sixth of many, may leave the picture at its top"
    history = [dict(epoch=n, train=v - 1, val=v) for n, v in enumerate(val, 1)]
    ax = plot_history(history, "red")
    train, validation = ax.lines
    assert (train.get_linestyle(), validation.get_linestyle()) == ("--", "-") and validation.get_ydata().tolist() == val
    assert ax.get_ylim() == (min(val) - 3, top)
