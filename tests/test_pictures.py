"Pictures of all kinds become digits, or an error says why not"
import io
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps

from cvae_tutorial.kit.pictures import cut_out, find_ink, find_place, read_digit, read_grey
from cvae_tutorial.reader import load_classifier
from cvae_tutorial.reports.command import main
from cvae_tutorial.reports.complete import complete


def drawn(size, paper, pen, mode="RGB") -> Image.Image:
    "A seven"
    image, (w, h) = Image.new(mode, size, paper), size
    ImageDraw.Draw(image).line([(.3*w, .2*h), (.7*w, .2*h), (.45*w, .8*h)], pen, max(2, min(size)//12), joint="curve")
    return image


def sideways(image):
    "Stored on its side, with a note that says so"
    exif = Image.Exif()
    exif[0x112] = 6
    return image.rotate(90, expand=True), exif


KINDS = {
    "small.png": (drawn((28, 28), 255, 0, "L"), {}), "large.jpg": (drawn((600, 800), "white", "black"), {}),
    "wide.bmp": (drawn((300, 120), "lightyellow", "darkred"), {}), "dark.gif": (drawn((90, 90), 0, 255, "L").convert("P"), {}),
    "blue.tiff": (drawn((200, 200), "navy", "yellow"), {}), "clear.webp": (drawn((150, 180), (0, 0, 0, 0), (10, 20, 30, 255), "RGBA"), dict(lossless=True)),
    "clear.png": (drawn((64, 64), (0, 0, 0, 0), (0, 0, 0, 255), "RGBA"), {}), "bits.png": (drawn((100, 100), 1, 0, "1"), {}),
    "deep.png": (Image.fromarray(np.array(drawn((120, 120), 255, 0, "L"), np.uint16)*250), {}), "print.jpg": (drawn((128, 128), (0, 0, 0, 0), (0, 0, 0, 255), "CMYK"), {})}


@pytest.mark.parametrize("name", KINDS)
def test_ten_pictures_are_completed(name, tmp_path, capsys):
    "By command, from a file of each format; the reader sees a seven before anything is hidden"
    image, how = KINDS[name]
    image.save(tmp_path / name, **how)
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).rectangle([0, image.height//2, image.width, image.height], 255)
    mask.save(tmp_path / "mask.png")
    ink, visible = read_digit(tmp_path / name, tmp_path / "mask.png")
    assert load_classifier().logits(ink[None]).argmax().item() == 7 and .3 < visible.float().mean() < .7 and visible[0].all()
    status = main(["complete", str(tmp_path / name), "--hide", str(tmp_path / "mask.png"), "--samples", "3", "--out", str(tmp_path / "made.png")])
    assert status == 0 and Image.open(tmp_path / "made.png").width > 3*Image.open(tmp_path / "made.png").height
    assert capsys.readouterr().out == f"Saved in {tmp_path / 'made.png'}\n"


def test_photographs_stand_up(tmp_path):
    image, exif = sideways(drawn((200, 300), "white", "black"))
    image.save(tmp_path / "phone.jpg", exif=exif)
    turned = read_grey(tmp_path / "phone.jpg")
    assert turned.shape == (300, 200) and (turned - read_grey(drawn((200, 300), "white", "black"))).abs().mean() < .02


@pytest.mark.parametrize("trouble, said", {
    "absent": "No such file", "text": "no picture that can be read", "cut off": "no picture that can be read", "empty": "no picture that can be read",
    "blank": "no ink was found", "noise": "no paper was found", "tiny": "at least 8 pixels", "other size": "as large as the picture",
    "hides nothing": "hides nothing", "hides paper alone": "hides nothing of the digit", "format": "must end in .png", "five quadrants": "must be 1, 2 or 3",
    "no samples": "parameter 'samples'", "no folder": "File exists"}.items())
def test_what_is_no_digit_is_refused(trouble, said, tmp_path, capsys):
    "One line says why, exit status 2, no file; what was there before is whole"
    picture, mask, out = tmp_path / "picture.png", tmp_path / "mask.png", tmp_path / "made.png"
    image, hidden = drawn((100, 100), "white", "black"), Image.new("L", (100, 100), 255)
    if trouble == "blank": image = Image.new("L", (100, 100), 200)
    if trouble == "noise": image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 100), np.uint8))
    if trouble == "noise": hidden = hidden.resize((100, 90))
    if trouble == "tiny": image, hidden = image.resize((6, 6)), hidden.resize((6, 6))
    if trouble == "other size": hidden = hidden.resize((50, 50))
    if trouble == "hides nothing": hidden = Image.new("L", (100, 100), 0)
    if trouble == "hides paper alone":
        image = ImageOps.expand(image, 200, "white")
        hidden = Image.new("L", image.size, 0)
        hidden.paste(255, (0, 0, 50, 50))
    if trouble != "absent": image.save(picture)
    if trouble == "text": picture.write_text("a letter")
    if trouble == "empty": picture.write_bytes(b"")
    if trouble == "cut off": picture.write_bytes(picture.read_bytes()[:150])
    hidden.save(mask)
    if trouble == "format": out = tmp_path / "made.jpg"
    if trouble == "no folder": out = picture / "made.png"
    hide = "5" if trouble == "five quadrants" else mask
    if trouble != "no folder": out.write_text("an older file")
    words = ["complete", picture, "--hide", hide, "--out", out, *(["--samples", "0"] if trouble == "no samples" else [])]
    assert main(list(map(str, words))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("cvae-tutorial: ") and said in lines[0]
    if trouble != "no folder": assert out.read_text() == "an older file"
    assert {path.name for path in tmp_path.iterdir()} <= {"picture.png", "mask.png", out.name}


def test_mangled_pictures_raise_a_clear_error():
    "Bytes changed at random: a picture, or a ValueError"
    made, rng, refused = io.BytesIO(), random.Random(0), 0
    drawn((60, 60), "white", "black").save(made, "PNG")
    for _ in range(200):
        mangled = bytearray(made.getvalue())
        for _ in range(rng.randrange(1, 8)): mangled[rng.randrange(8, len(mangled))] = rng.randrange(256)
        try: assert read_grey(Image.open(io.BytesIO(mangled))).isfinite().all()
        except (ValueError, OSError): refused += 1
        except SyntaxError: refused += 1  # of Image.open itself, before the library is asked
    assert 20 < refused


def test_size_and_place_do_not_matter():
    "The same seven anywhere on a page becomes the same digit"
    digit, page = drawn((200, 200), "white", "black"), []
    for at, size in (((0, 0), (200, 200)), ((300, 100), (600, 400)), ((40, 500), (300, 900))):
        page.append(Image.new("RGB", size, "white"))
        page[-1].paste(digit, at)
    placed = [cut_out(ink, find_place(ink)) for ink in (find_ink(read_grey(p)) for p in page)]
    assert max((placed[0] - other).abs().mean().item() for other in placed[1:]) < .01


def test_a_digit_in_its_place_stays_there():
    image = drawn((56, 56), "white", "black")
    moved = Image.new("RGB", (56, 56), "white")
    moved.paste(image, (14, 0))
    everything = Image.new("1", (56, 56), 1)
    columns = [torch.where(read_digit(moved, everything, placed)[0].sum(0) > .5)[0].float().mean() for placed in (True, False)]
    assert columns[0] > columns[1] + 4


def test_python_function_gives_pictures_and_one_seed_one_result(tmp_path):
    image, mask = drawn((80, 80), "white", "black"), Image.new("1", (80, 80), 1)
    one, same, other = (complete(image, mask, 4, seed=seed) for seed in (0, 0, 1))
    assert one.shape == (4, 28, 28) and torch.equal(one, same) and not torch.equal(one, other)
    ink, _ = read_digit(image, mask)
    kept = complete(image, 2, 2)
    assert torch.equal(kept[:, :, :14], ink[:, :14].expand(2, -1, -1)) and not torch.equal(kept[0], kept[1])


def test_all_four_sides_say_what_the_paper_is():
    grey = torch.ones(40, 40)
    grey[10:30, 15:20] = 0
    assert find_ink(grey).max() == 1
    for side in (0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1):
        changed = grey.clone()
        changed[side] = .5
        with pytest.raises(ValueError, match="no paper was found"): find_ink(changed)
    with pytest.raises(ValueError, match="not 20 by 6"): find_ink(torch.rand(6, 20))


def test_thin_lines_do_not_get_lost():
    "Of ten rows one has ink: what they become is a tenth of black"
    stripes = torch.zeros(280, 280)
    stripes[::10] = 1
    torch.testing.assert_close(cut_out(stripes, (0., 0., 280.)), torch.full((28, 28), .1), atol=.05, rtol=0)


def test_quadrants_of_a_photograph_that_stands_up(tmp_path):
    image, exif = sideways(drawn((200, 300), "white", "black"))
    image.save(tmp_path / "phone.jpg", exif=exif)
    assert complete(tmp_path / "phone.jpg", 1, 2).shape == (2, 28, 28)
    (tmp_path / "letter.png").write_text("a letter")
    with pytest.raises(ValueError, match="no picture that can be read"): complete(tmp_path / "letter.png", 1, 2)
