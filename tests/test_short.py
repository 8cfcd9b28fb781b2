"The short version: its length, its truth, and its live pictures in a real browser"
import json
import re

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT
from PIL import Image

from cvae_tutorial.data import get_pairs
from cvae_tutorial.kit.files import load_results
from cvae_tutorial.training import load_pretrained

SHORT = ROOT / "nbs/short"
ANSWERS = json.loads((SHORT / "answers.json").read_text())
WIDGETS = "short-answer", "short-coin", "short-average", "short-variance"
SEEN = np.zeros((28, 28), bool)
SEEN[14:, :14] = True
CASES = np.array([.9]*7 + [.2]*3)


@pytest.fixture(scope="module")
def inputs() -> list[dict]:
    "What samples.png holds: for each input the truth, the one answer and the samples, 0..1"
    sheet = np.asarray(Image.open(SHORT / "samples.png")).astype(float) / 255
    tiles = sheet.reshape(-1, 28, ANSWERS["columns"], 28).swapaxes(1, 2).reshape(-1, 28, 28)
    each = tiles.reshape(len(ANSWERS["inputs"]), ANSWERS["samples"] + 2, 28, 28)
    return [dict(truth=t[0], answer=t[1], samples=t[2:], **said) for t, said in zip(each, ANSWERS["inputs"], strict=True)]


@pytest.fixture(scope="module")
def prose() -> str:
    "All words that the page has without scripts"
    cells = json.loads((ROOT / "nbs/short.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    text = re.sub(r"```\{=html\}|```|<[^>]*>|\]\([^)]*\)", " ", text)
    return " ".join(re.sub(r"[\[\]*#>]", "", text).split())


def open_page(tab, site):
    "Open the page, and wait until the widgets that fetch samples have them"
    tab.goto(f"{site}short.html")
    for name in WIDGETS[2:]:
        tab.locator(name).scroll_into_view_if_needed()
        tab.wait_for_selector(f"{name}[data-ready]")
    return tab


@pytest.fixture
def page(tab, site):
    "The page, on a desk; script errors fail the test"
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield open_page(tab, site)
    assert errors == []


def ink(tab, widget: str, part: str) -> np.ndarray:
    "What a canvas shows, 0 for white to 1 for black"
    data = tab.eval_on_selector(f"{widget} [data-part={part}]", "c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data]")
    return 1 - np.array(data).reshape(28, 28, 4)[..., 0] / 255


def slide(tab, widget: str, name: str, place):
    tab.eval_on_selector(f"{widget} [name={name}]", """(slider, place) => { slider.value = place;
        slider.dispatchEvent(new Event('input', { bubbles: true })); }""", place)


def said(tab, widget: str) -> str:
    return tab.inner_text(f"{widget} [data-part=said]")


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"\d+\.\d+", text)]


def value(tab, widget: str, name: str) -> float:
    return float(tab.input_value(f"{widget} [name={name}]"))


def pixel(tab) -> tuple[float, float]:
    "Where the mark of the variance widget is: row and column"
    at = tab.eval_on_selector("short-variance .spot i", "mark => [mark.style.top, mark.style.left]")
    return tuple(round(float(v.rstrip("%")) * 28 / 100) for v in at)


# Length and words

def test_takes_five_minutes(page, prose):
    words = "e => e.innerText.trim().split(/\\s+/).length"
    live = page.eval_on_selector("main", words) - page.eval_on_selector("main .page-navigation", words)
    print(f"{len(prose.split())} words in the notebook, {live} with those of the widgets")
    assert 600 < len(prose.split()) <= 900 and live <= 900
    assert page.locator("main figure").count() == 6 and page.locator("main figcaption").count() == 6
    assert page.locator(", ".join(WIDGETS)).count() == 4


def test_explains_every_word_that_it_uses(prose):
    unexplained = r"\b(nats?|posterior|prior|decoders?|encoders?|ELBO|likelihood|entropy|divergence|latent variable|baseline|Bernoulli|variational inference|loss|logits?)\b"
    assert re.findall(unexplained, prose, re.I) == []
    for word, explained in {"latent": "called latent, that is, hidden", "CVAE": "Such a network is called a conditional variational autoencoder (CVAE)",
                            "sample": "a new picture, called a sample", "variance": "the variance, the average squared distance of the ink from its average",
                            "uncertainty": "doubt (the field says uncertainty)"}.items():
        assert prose.find(explained) >= 0 and prose.find(explained) <= prose.find(word) <= prose.find(explained) + len(explained), word


def test_is_light(page, site):
    sizes = page.evaluate("""[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]
        .filter(e => /short/.test(e.name)).map(e => [e.name.split('/').pop(), e.decodedBodySize])""")
    fetched = dict(sizes)
    assert {"short.html", "short.js", "short.css", "samples.png", "answers.json", "quarter.png", "blur.png"} <= fetched.keys()
    total = sum(path.stat().st_size for path in SHORT.iterdir()) + fetched["short.html"]
    print(f"{total:,} bytes in all")
    assert total <= 700_000  # half of what we allow ourselves at most


def test_fetches_samples_when_they_come_into_view(tab, site):
    asked = []
    tab.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    tab.set_viewport_size({"width": 1280, "height": 300})
    tab.goto(f"{site}short.html", wait_until="networkidle")
    assert "short.js" in asked and "samples.png" not in asked
    tab.locator("short-average").scroll_into_view_if_needed()
    tab.wait_for_selector("short-average[data-ready]")
    assert asked.count("samples.png") == 1


# What the page says is so

def test_prose_states_what_full_runs_found(prose):
    results = load_results("mnist/sharper")

    def one(rows, **where): return [r for r in rows if r.items() >= (dict(quadrants=1) | where).items()]
    rms = {K: np.mean([r["rms"] for r in one(results["averaging"], K=K)]) for K in (1, 256)}
    assert float(re.search(r"256 samples is ([\d.]+) times closer", prose)[1]) == round(rms[1] / rms[256], 1)
    shares = [r["between"] / (r["total"] - r["grey"]) for r in one(results["variance"])]
    assert abs(np.mean(shares) - .75) < .02 and "three quarters of its doubt lies between" in prose


def test_more_contrast_costs_more(prose):
    "On 2,000 digits that were not fitted, under both penalties"
    assert "More contrast is not the way out" in prose
    val, (net, _) = get_pairs(1)["val"], load_pretrained(1)
    x, y = val.x[:2000], val.y[:2000]
    with torch.no_grad(): logits = net.logits(x)
    cost = {c: torch.nn.functional.binary_cross_entropy_with_logits(c * logits, y).item() for c in (.5, 1, 1.5, 2, 3)}
    squared = {c: (torch.sigmoid(c * logits) - y).square().mean().item() for c in (.5, 1, 1.5, 2, 3)}
    for penalty in cost, squared: assert min(penalty, key=penalty.get) == 1, penalty


def test_inputs_are_what_the_page_takes_them_for(inputs):
    def entropy(mix): return -sum(m * np.log(m) for m in mix if m)
    plain, unsure = ([i for i in inputs if i["kind"] == kind] for kind in ("plain", "open"))
    assert len(plain) == len(unsure) == 2 and ANSWERS["data"] == "MNIST"
    for i in plain: assert entropy(i["mix"]) < .15 and len(set(i["twins"])) == 1
    for i in unsure: assert sorted(i["mix"])[-2] > .25 and len(set(i["twins"])) > 1
    assert plain[0]["twins"] == [2]*9 and sorted(unsure[0]["twins"]) == [4]*4 + [8] + [9]*4  # the first figure
    for i in inputs:  # samples differ where the digit is plain too, and all keep what is seen
        assert i["samples"].var(0)[~SEEN].sum() > 15
        assert (i["samples"][:, SEEN] == i["truth"][SEEN]).all() and (i["answer"][SEEN] == i["truth"][SEEN]).all()


def test_samples_are_sharper_than_the_one_answer_and_their_average_is_not(inputs):
    def undecided(p): return (p * (1 - p))[..., ~SEEN].sum(-1).mean()
    for i in inputs:
        mean = i["samples"].mean(0)
        assert undecided(i["samples"]) < .65 * undecided(i["answer"]) and undecided(mean) > .85 * undecided(i["answer"])
        alone = ((i["samples"] - i["answer"])[:, ~SEEN]**2).mean()**.5
        assert ((mean - i["answer"])[~SEEN]**2).mean()**.5 < .4 * alone


# The toy

def test_the_best_answer_is_the_average(page, prose):
    penalties = {}
    for place in np.linspace(0, 1, 101).round(2):
        slide(page, "short-answer", "answer", place)
        penalties[place] = numbers(said(page, "short-answer"))[0]
        assert penalties[place] == pytest.approx(((CASES - place)**2).mean(), abs=6e-4)
    best = page.evaluate("""async () => { const { distancePenalty } = await import('/cvae-tutorial/short/short.js');
        return [...Array(1001).keys()].map(n => n / 1000).reduce((a, b) => distancePenalty(b) < distancePenalty(a) ? b : a); }""")
    assert best == pytest.approx(CASES.mean(), abs=1e-9) and f"their average, {best:.2f}" in prose
    a = np.linspace(.001, .999, 999)[:, None]
    logarithmic = -(CASES * np.log(a) + (1 - CASES) * np.log(1 - a)).mean(1)
    assert a[logarithmic.argmin(), 0] == pytest.approx(CASES.mean())
    slide(page, "short-answer", "answer", .69)
    assert said(page, "short-answer") == "Penalty 0.103, the lowest possible"


def test_the_answer_follows_the_mouse(page):
    page.locator("short-answer").scroll_into_view_if_needed()
    plot = page.locator("short-answer .plot > svg").bounding_box()
    handle = page.locator("short-answer [data-part=handle]").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(plot["x"] + .69 * plot["width"], plot["y"] + 20, steps=4)
    page.mouse.up()
    assert value(page, "short-answer", "answer") == pytest.approx(.69, abs=.011)
    page.mouse.move(plot["x"] + 5, plot["y"] + 20)  # let go
    assert value(page, "short-answer", "answer") == pytest.approx(.69, abs=.011)


def test_the_coin_pays_what_numpy_says(page):
    def surprise(heads, tails, chance):
        return -np.log(chance * np.exp(-((CASES - heads) / .1)**2 / 2) + (1 - chance) * np.exp(-((CASES - tails) / .1)**2 / 2)).mean()
    for coin in (.6, .5, .5), (.9, .2, .5), (.2, .9, .7), (.85, .25, .7), (.69, .69, .3), (.9, .2, .7):
        for name, place in zip(("heads", "tails", "chance"), coin): slide(page, "short-coin", name, place)
        assert numbers(said(page, "short-coin"))[0] == pytest.approx(surprise(*coin) - surprise(.9, .2, .7), abs=.006), coin
    assert "lowest possible" in said(page, "short-coin")


@pytest.mark.parametrize("start", [(.6, .5, .5), (.3, .4, .9), (.69, .69, .5), (0, 1, .98), (1, 1, .02)])
def test_the_coin_learns(page, start):
    for name, place in zip(("heads", "tails", "chance"), start): slide(page, "short-coin", name, place)
    assert "lowest possible" not in said(page, "short-coin")
    page.get_by_role("button", name="Let it learn").click()
    page.locator("short-coin [data-part=said]").filter(has_text="lowest possible").wait_for()
    page.wait_for_timeout(300)
    heads, tails, chance = (value(page, "short-coin", name) for name in ("heads", "tails", "chance"))
    found = (heads, tails, chance) if heads > tails else (tails, heads, 1 - chance)
    assert found == pytest.approx((.9, .2, .7), abs=.021)


def test_the_coin_follows_the_mouse(page):
    page.locator("short-coin").scroll_into_view_if_needed()
    plot = page.locator("short-coin .plot > svg").bounding_box()
    for side, x, up, chance in ("heads", .9, .7, .7), ("tails", .2, .3, .7):
        handle = page.locator(f"short-coin [data-part={side}-handle]").bounding_box()
        page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
        page.mouse.down()
        page.mouse.move(plot["x"] + x * plot["width"], plot["y"] + plot["height"] - 110 * up, steps=4)
        page.mouse.up()
        assert value(page, "short-coin", side) == pytest.approx(x, abs=.011)
        assert value(page, "short-coin", "chance") == pytest.approx(chance, abs=.011)
    assert numbers(said(page, "short-coin"))[0] < .02


# Samples

def test_averages_as_numpy_does(page, inputs):
    for n, i in enumerate(inputs):
        page.locator("short-average [type=radio]").nth(n).check(force=True)
        for place in 0, 12, 40, 10**6:
            slide(page, "short-average", "k", place)
            K = int(page.inner_text("short-average [data-part=k-value]"))
            mean = i["samples"][:K].mean(0)
            assert np.abs(ink(page, "short-average", "average") - mean).max() <= .51 / 255 + 1e-6
            rms = ((mean - i["answer"])[~SEEN]**2).mean()**.5
            alone = ((i["samples"] - i["answer"])[:, ~SEEN]**2).mean()**.5
            assert numbers(said(page, "short-average")) == pytest.approx([rms, alone], abs=6e-4)
            assert page.locator("short-average .wall .in").count() == min(K, 32)
        assert K == 256
        assert np.abs(ink(page, "short-average", "answer") - i["answer"]).max() < 1e-6


def test_within_and_between_add_up(page, inputs):
    for n, i in enumerate(inputs):
        split = page.evaluate("""async pictures => { const { variances } = await import('/cvae-tutorial/short/short.js');
            const { mean, within, between } = variances(pictures.map(p => Float64Array.from(p)));
            return { mean: [...mean], within: [...within], between: [...between] }; }""", i["samples"].reshape(256, 784).tolist())
        p, mean = i["samples"].reshape(256, 784), i["samples"].mean(0).ravel()
        assert np.allclose(split["within"], (p * (1 - p)).mean(0)) and np.allclose(split["between"], p.var(0))
        assert np.allclose(np.add(split["within"], split["between"]), mean * (1 - mean))  # of the average, p (1 - p)
        page.locator("short-variance [type=radio]").nth(n).check(force=True)
        for part, expected in dict(within=(p * (1 - p)).mean(0), between=p.var(0), both=mean * (1 - mean),
                                   one=(i["answer"] * (1 - i["answer"])).ravel()).items():
            assert np.abs(ink(page, "short-variance", part) - np.where(SEEN, 0, 4 * expected.reshape(28, 28))).max() <= .51 / 255 + 1e-6


def test_the_mouse_reads_a_pixel(page, inputs):
    p, guess = inputs[2]["samples"], inputs[2]["answer"]
    box = page.locator("short-variance .spot").nth(3).bounding_box()
    for row, column in (5, 20), (18, 19), (10, 3):
        page.mouse.move(box["x"] + (column + .5) / 28 * box["width"], box["y"] + (row + .5) / 28 * box["height"])
        assert pixel(page) == (row, column)
        q = p[:, row, column]
        assert numbers(said(page, "short-variance")) == pytest.approx(
            [guess[row, column] * (1 - guess[row, column]), (q * (1 - q)).mean(), q.var()], abs=6e-4)
        bars = [page.eval_on_selector(f"short-variance [data-part={name}-bar]", "bar => parseFloat(bar.style.width)") for name in ("within", "between")]
        assert sum(bars) == pytest.approx(400 * q.mean() * (1 - q.mean()), abs=.2)
    page.mouse.move(box["x"] + .2 * box["width"], box["y"] + .8 * box["height"])
    assert "nothing is open" in said(page, "short-variance")


# For everyone

def test_keyboard_alone_is_enough(page):
    def tab_to(selector):  # past links of headings, if there are any
        for _ in range(3):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector): return
        pytest.fail(f"Tab does not reach {selector}")
    page.locator("short-answer [name=answer]").focus()
    before = value(page, "short-answer", "answer")
    page.keyboard.press("ArrowRight")
    assert value(page, "short-answer", "answer") == pytest.approx(before + .01)
    for name in "heads", "tails", "chance":
        tab_to(f"short-coin [name={name}]")
        before = value(page, "short-coin", name)
        page.keyboard.press("ArrowUp")
        assert value(page, "short-coin", name) == pytest.approx(before + .01)
    tab_to("short-coin button")
    page.keyboard.press("Enter")
    page.locator("short-coin [data-part=said]").filter(has_text="lowest possible").wait_for()
    tab_to("short-average [type=radio]")
    before = ink(page, "short-average", "seen")
    page.keyboard.press("ArrowRight")
    assert page.locator("short-average [type=radio]").nth(1).is_checked() and (ink(page, "short-average", "seen") != before).any()
    tab_to("short-average [name=k]")
    page.keyboard.press("End")
    assert page.inner_text("short-average [data-part=average-title]") == "average of 256 samples"
    assert page.get_attribute("short-average [name=k]", "aria-valuetext") == "256"
    tab_to("short-variance [type=radio]")
    page.keyboard.press("ArrowRight")
    assert page.locator("short-variance [type=radio]").nth(3).is_checked() and page.locator("short-average [type=radio]").nth(1).is_checked()
    tab_to("short-variance .maps")
    row, column = pixel(page)
    words = said(page, "short-variance")
    for key in "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowUp": page.keyboard.press(key)
    assert pixel(page) == (row - 1, column - 2) and said(page, "short-variance") != words
    for _ in range(40): page.keyboard.press("ArrowUp")
    assert pixel(page) == (0, column - 2)


def test_fingers_drag_and_tap(browser, site):
    errors = []
    with browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as context:
        tab = context.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        open_page(tab, site)
        cdp = context.new_cdp_session(tab)

        def drag(start, end):
            for kind, points in ("touchStart", [start]), ("touchMove", [tuple(np.mean([start, end], 0))]), ("touchMove", [end]), ("touchEnd", []):
                cdp.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=[dict(x=float(x), y=float(y)) for x, y in points]))

        def middle(box): return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        tab.locator("short-coin").scroll_into_view_if_needed()
        plot = tab.locator("short-coin .plot > svg").bounding_box()
        drag(middle(tab.locator("short-coin [data-part=heads-handle]").bounding_box()), (plot["x"] + .9 * plot["width"], plot["y"] + plot["height"] - 77))
        assert [value(tab, "short-coin", name) for name in ("heads", "chance")] == pytest.approx([.9, .7], abs=.02)
        tab.locator("short-answer").scroll_into_view_if_needed()
        plot = tab.locator("short-answer .plot > svg").bounding_box()
        drag((plot["x"] + .35 * plot["width"], plot["y"] + 60), (plot["x"] + .69 * plot["width"], plot["y"] + 62))
        assert value(tab, "short-answer", "answer") == pytest.approx(.69, abs=.02)
        tab.locator("short-variance .maps").scroll_into_view_if_needed()
        box = tab.locator("short-variance .spot").nth(1).bounding_box()
        tab.touchscreen.tap(box["x"] + 15.5 / 28 * box["width"], box["y"] + 8.5 / 28 * box["height"])
        assert pixel(tab) == (8, 15)
        tab.locator("short-average label").nth(3).tap()
        assert tab.locator("short-average [type=radio]").nth(3).is_checked()
    assert errors == []


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 360)])
def test_shuts_nobody_out(browser, site, scheme, width):
    with browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme) as tab:
        open_page(tab, site)
        violations = Axe().run(tab).response["violations"]
        assert {v["id"]: v["nodes"][0]["html"] for v in violations} == {}
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        boxes = tab.eval_on_selector_all("figure :is(button, label, [type=range], [data-part$=handle], .spot)", """all => all.map(e => [e.outerHTML.slice(0, 80), e])
            .map(([html, e]) => { const b = e.getBoundingClientRect(); return [html, +e.getAttribute('r') ? 2 * e.getAttribute('r') : Math.min(b.width, b.height)]; })""")
        assert len(boxes) > 20 and [b for b in boxes if b[1] < 24] == []  # big enough for a finger


def test_works_without_scripts(browser, site):
    with browser.new_page(java_script_enabled=False, viewport={"width": 1280, "height": 900}) as tab:
        tab.goto(f"{site}short.html", wait_until="networkidle")
        for name in WIDGETS:
            still = tab.locator(f"{name} :is(img, .plot svg[role=img])")
            assert still.is_visible() and still.bounding_box()["width"] > 300 and still.bounding_box()["height"] > 100
            assert (still.get_attribute("alt") or still.get_attribute("aria-label")), name
        assert tab.locator("figure img").count() == 4
        for image in tab.locator("figure img").all():
            image.scroll_into_view_if_needed()
            assert image.evaluate("image => image.complete && image.naturalWidth") == int(image.get_attribute("width"))
        assert tab.locator(".live").count() == 4 and not any(live.is_visible() for live in tab.locator(".live").all())
        assert tab.locator("figure :is(input, button)").count() == 0


def test_still_pictures_stay_if_the_samples_do_not_come(tab, site):
    for trouble in (lambda route: route.abort(), lambda route: route.fulfill(status=404), lambda route: route.fulfill(body="<html>log in first</html>")):
        tab.route("**/samples.png", trouble)
        tab.goto(f"{site}short.html")
        widget = tab.locator("short-average")
        widget.scroll_into_view_if_needed()
        widget.get_by_role("alert").wait_for()
        assert "could not be fetched" in widget.get_by_role("alert").inner_text() and widget.locator("img").is_visible()
        tab.unroute("**/samples.png")
    widget.get_by_role("button", name="Try again").click()
    tab.wait_for_selector("short-average[data-ready]")
    assert widget.get_by_role("alert").count() == 0


def test_nothing_moves_for_those_who_ask_for_that(browser, site):
    with browser.new_page(reduced_motion="reduce") as tab:
        tab.goto(f"{site}short.html")
        found = tab.evaluate("""async () => { await customElements.whenDefined('short-coin');
            document.querySelector('short-coin button').click(); await null; return document.querySelector('short-coin [data-part=said]').value; }""")
        assert "lowest possible" in found
