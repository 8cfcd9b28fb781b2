"The page that samples: its JavaScript against PyTorch, and its widget in a real browser"
import random
import re
import statistics
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT, Quiet
from safetensors.torch import load_file

from cvae_tutorial.baseline import BaselineNet
from cvae_tutorial.data import visible_mask
from cvae_tutorial.masks import draw_masks, hide, load_masked
from cvae_tutorial.reports.demo import name_layers, page_nets, page_weights

DEMO = ROOT / "nbs/demo"
READY = "cvae-demo[aria-busy=false]"
LOAD = """const net = await import('/cvae-tutorial/demo/net.js');
          const get = async name => net.readSafetensors(await (await fetch(`/cvae-tutorial/demo/${name}`)).arrayBuffer());
          const nets = net.networks(await get('weights.safetensors')), tray = (await get('digits.safetensors')).images.data;
          const image = n => new Float32Array(tray.subarray(784 * n, 784 * n + 784)).map(v => v / 255);"""
RUN = f"""async questions => {{ {LOAD}
  return questions.map(({{ digit, mask, noise, hill, samples }}) => {{
    mask = Uint8Array.from(mask);
    const x = net.hide(image(digit), mask), prior = nets.prior(x), generate = nets.generation(x), z = net.latent(prior, noise, hill);
    const generation = generate(z), made = {{ z, generation, weights: prior.weights, baseline: nets.baseline(x), classifier: nets.classify(x),
      mean: prior.hills[hill].mean, scale: prior.hills[hill].scale, reader: nets.read(net.join(x, generation, mask)) }};
    const uniform = net.uniforms(0), next = net.normals(uniform), mix = new Float32Array(10), start = performance.now();
    for (let n = 0; n < samples; n++) {{
      const sample = generate(net.latent(prior, noise.map(next), net.pick(prior, uniform())));
      nets.read(net.join(x, sample, mask)).forEach((p, i) => {{ mix[i] += p / samples; }});
    }}
    if (samples) Object.assign(made, {{ mix }});
    return [Object.fromEntries(Object.entries(made).map(([name, values]) => [name, [...values]])), (performance.now() - start) / samples];
  }});
}}"""


@pytest.fixture
def demo(tab, site):
    "Open the page of the widget, or another, and wait for its answer; script errors fail the test"
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))

    def visit(query="", page="demo"):
        tab.goto(f"{site}{page}.html{query}")
        tab.locator("cvae-demo").scroll_into_view_if_needed()
        tab.wait_for_selector(READY)
        return tab
    yield visit
    assert errors == []


def distance(tab) -> float:
    "What the page says about the mean of K samples: times the distance of a single sample"
    return float(re.search(r"which is ([\d.]+) times", tab.locator("[data-part=distance]").inner_text())[1])


def pixels(tab, part: str) -> list:
    return tab.eval_on_selector(f"[data-part={part}]", "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")


def hidden(tab) -> np.ndarray:
    "What the input shows in the colour of hidden pixels"
    return (np.array(pixels(tab, "input")).reshape(28, 28, 4)[..., :3] == [198, 216, 232]).all(-1)


def slide(tab, name: str, place):
    "Move a slider as a hand does, and wait for the answer"
    tab.eval_on_selector(f"[name={name}]", """(slider, place) => { slider.value = place;
        slider.dispatchEvent(new Event('input', { bubbles: true })); slider.dispatchEvent(new Event('change', { bubbles: true })); }""", place)
    tab.wait_for_selector(READY)


@pytest.fixture(scope="module")
def nets():
    "What the page should have: the package's networks, rounded, and the page's own classifier"
    weights, naming = load_file(DEMO / "weights.safetensors"), BaselineNet(48, 48, y_dim=10)
    for name, weight in name_layers(naming).items(): weight.copy_(weights[f"classifier.{name}"])
    baseline, cvae = load_masked()
    return page_nets(dict(baseline=baseline, cvae=cvae, classifier=naming))


@pytest.fixture(scope="module")
def asked():
    "Random masks of every kind over digits of the page, and places on the prior's hills; the first eight with many samples"
    torch.manual_seed(0)
    masks, noise = draw_masks(108), torch.randn(108, 20)
    masks[:3], masks[-1] = torch.stack([visible_mask(n) for n in (1, 2, 3)]), True
    return [dict(digit=n % 96, mask=mask.flatten().int().tolist(), noise=at.tolist(), hill=n % 10, samples=512*(n < 8))
            for n, (mask, at) in enumerate(zip(masks, noise))]


@pytest.fixture(scope="module")
def computed(browser, site, asked):
    "What the page's networks make of these questions, and milliseconds a sample"
    with browser.new_page() as tab:
        tab.goto(f"{site}demo.html")
        return tab.evaluate(RUN, asked)


@pytest.fixture(scope="module")
def expected(nets, asked):
    "What PyTorch makes of them"
    images = load_file(DEMO / "digits.safetensors")["images"] / 255
    def read(pictures): return nets["reader"].logits(pictures).softmax(-1)
    with torch.no_grad(): return [answer(nets, read, images[q["digit"]][None], q) for q in asked]


def answer(nets, read, image, question) -> dict:
    cvae, hill, mask = nets["cvae"], question["hill"], torch.tensor(question["mask"], dtype=torch.bool).view(28, 28)
    x, _ = hide(image, mask)
    prior = cvae.prior(x)
    hills = prior.base_dist.component_distribution.base_dist
    mean, scale = hills.loc[:, hill], hills.scale[:, hill]
    z = mean + scale*torch.tensor(question["noise"])
    for step in prior.transforms: z = step(z)
    generation = cvae.generation(x, z).mean
    def joined(p): return torch.where(mask, image, p.view(-1, 28, 28))
    made = dict(z=z, generation=generation, weights=prior.base_dist.mixture_distribution.probs, baseline=nets["baseline"](x),
                classifier=nets["classifier"].logits(x).softmax(-1), mean=mean, scale=scale, reader=read(joined(generation)))
    if question["samples"]: made["mix"] = read(joined(cvae.sample(x, 4096)[:, 0])).mean(0)
    return made


def test_javascript_computes_what_pytorch_computes(computed, expected):
    assert len(computed) == 108
    for n, ((made, _), wanted) in enumerate(zip(computed, expected)):
        for name in wanted.keys() - {"mix"}:
            assert np.abs(np.subtract(made[name], wanted[name].flatten().tolist())).max() < 1e-3, (name, n)


def test_page_has_the_networks_of_the_package(nets):
    weights = load_file(DEMO / "weights.safetensors")
    assert weights.keys() == page_weights(nets).keys()
    assert all(torch.equal(weights[name].float(), weight) for name, weight in page_weights(nets).items())
    assert (DEMO / "weights.safetensors").stat().st_size <= 3_000_000


def test_samples_in_the_page_show_the_digits_that_samples_in_the_library_show(computed, expected):
    apart = [np.abs(np.subtract(made["mix"], wanted["mix"].tolist())).sum() / 2 for (made, _), wanted in zip(computed, expected) if "mix" in wanted]
    print("total variation:", [f"{tv:.3f}" for tv in apart])
    assert len(apart) == 8 and max(apart) < .07


def test_averaging_brings_the_blur_back(demo):
    ratios = []
    for digit in range(8):
        tab = demo(f"?digit={digit}&k=256")
        ratios.append(distance(tab))
        assert tab.inner_text("[data-part=mean-title]") == "mean of 256 samples"
    print("distance at K = 256, times that of a single sample:", ratios)
    assert statistics.mean(ratios) < .45 and ratios[0] < .45


def test_exercises_state_what_the_page_shows(demo):
    exercises = (ROOT / "nbs/15_demo.ipynb").read_text(encoding="utf-8").partition("## Exercises")[2]
    def said(query): return demo(query).locator("[data-part=distance]").inner_text()
    def numbers(query): return [float(n) for n in re.findall(r"0\.\d{3}", said(query))]
    stated = []
    for seed in 0, 1:
        (many, one), (some, _) = numbers(f"?digit=2&seed={seed}&k=256"), numbers(f"?digit=2&seed={seed}&k=16")
        v = (one**2 - many**2) / (1 - 1 / 256)
        stated += [*([one, many] if seed == 0 else []), *[(one**2 - v + v / 16)**.5, some][::1 if seed == 0 else -1]]
    assert [float(n) for n in re.findall(r"0\.\d{3}", exercises)] == pytest.approx(stated, abs=6e-4)
    mixes = [re.findall(r"\d \(\d+ %\)", demo(f"?t={t}").inner_text("[data-part=mix]")) for t in (0, 1)]
    assert re.findall(r"\d \(\d+ %\)", exercises) == [*mixes[0], *mixes[1]]
    shares = [re.search(r"\b9 \((\d+) %\)", demo(f"?t={t}").inner_text("[data-part=mix]"))[1] for t in (1, 2)]
    assert "from {} % to {} %".format(*shares) in exercises


def test_is_light_and_quick(demo, computed):
    tab = demo()
    sizes = tab.evaluate("""performance.getEntriesByType('resource').filter(e => e.name.includes('/demo/')).map(e => [e.name, e.decodedBodySize])""")
    assert {name.rpartition("/")[2] for name, _ in sizes} == {"demo.js", "demo.css", "net.js", "weights.safetensors", "digits.safetensors"}
    assert sum(size for _, size in sizes) <= 3_200_000
    times = dict(tab.evaluate("performance.getEntriesByType('measure').map(m => [m.name, m.duration])"))
    frames = tab.evaluate("""async () => {
        const slider = document.querySelector('[name=k]'), frame = () => new Promise(requestAnimationFrame), times = [await frame()];
        for (let n = 0; n < 90; n++) {
          slider.value = n % (+slider.max + 1); slider.dispatchEvent(new Event('input', { bubbles: true })); times.push(await frame()); }
        return times.slice(1).map((t, n) => t - times[n]); }""")
    sample = statistics.median(ms for _, ms in computed[:8])
    print(f"{sum(size for _, size in sizes):,} bytes, ready in {times['cvae-demo ready']:.0f} ms, "
          f"all samples in {times['cvae-demo answered']:.0f} ms, "
          f"{sample:.2f} ms a sample, {1000 / statistics.median(frames):.0f} frames a second")
    assert times["cvae-demo ready"] < 5_000 and sample < 50 and statistics.median(frames) < 200  # bounds for any machine


def test_loads_only_when_it_comes_into_view(tab, site):
    asked = []
    tab.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    tab.set_viewport_size({"width": 1280, "height": 300})
    tab.goto(f"{site}index.html", wait_until="networkidle")
    assert "demo.js" in asked and "weights.safetensors" not in asked
    tab.locator("cvae-demo").scroll_into_view_if_needed()
    tab.wait_for_selector(READY)
    assert "weights.safetensors" in asked


def test_a_link_reproduces_what_one_sees(demo):
    tab = demo()
    tab.locator("[name=digit]").nth(5).check(force=True)
    tab.locator("[name=q][value='2']").check()
    slide(tab, "k", 20)
    slide(tab, "t", 1.3)
    slide(tab, "a", -1.5)
    tab.get_by_role("button", name="Sample again").click()
    tab.wait_for_selector(READY)
    seen = {part: pixels(tab, part) for part in ("input", "mean", "walk")}
    words = tab.inner_text("cvae-demo")
    address = tab.url
    assert "digit=5" in address and "q=2" in address and "seed=1" in address and "t=1.3" in address and "a=-1.5" in address
    tab.goto("about:blank")
    tab.goto(address)
    tab.wait_for_selector(READY)
    assert {part: pixels(tab, part) for part in seen} == seen and tab.inner_text("cvae-demo") == words
    tab = demo("?digit=5&q=2&t=1.3")  # another seed
    assert pixels(tab, "input") == seen["input"] and pixels(tab, "mean") != seen["mean"]


def test_small_form_leads_to_the_whole(demo, site):
    tab = demo("?digit=3&k=64", page="index")
    assert tab.inner_text("[data-part=mean-title]") == "mean of 64 samples" and tab.locator("[name=q]").count() == 0
    tab.locator("[data-part=more]").click()
    tab.wait_for_url(f"{site}demo.html?digit=3&k=64")


def test_walk_follows_the_directions_that_matter(demo):
    tab = demo("?digit=1")
    start = np.array(pixels(tab, "walk"), float)
    slide(tab, "a", 2)
    first = np.abs(np.array(pixels(tab, "walk")) - start).mean()
    slide(tab, "a", 0)
    assert pixels(tab, "walk") == start.tolist()
    slide(tab, "b", 2)
    second = np.abs(np.array(pixels(tab, "walk")) - start).mean()
    print(f"mean change of a pixel, two standard deviations along the directions: {first:.1f} and {second:.1f} of 255")
    assert first > 3 and second > 3


def test_keyboard_alone_is_enough(demo):
    tab = demo()
    tab.locator("[name=digit]").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_selector(READY)
    assert "digit=1" in tab.url and tab.locator("[name=digit]").nth(1).is_checked()
    for name in "Another digit", "Draw your own":
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == name
    tab.keyboard.press("Tab")
    before = hidden(tab)
    for key in *["ArrowLeft"]*6, *["ArrowDown"]*4, " ": tab.keyboard.press(key)
    tab.wait_for_selector(READY)
    spot = hidden(tab)
    assert (spot ^ before).sum() == (spot[14:, :14]).sum() and 12 < spot[14:, :14].sum() < 22 and spot[18, 8] and "m=" in tab.url
    for _ in range(4): tab.keyboard.press("Shift+ArrowDown")
    tab.wait_for_selector(READY)
    assert hidden(tab)[18:24, 7:9].all()
    tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowRight")  # the brush reveals
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press(" ")
    tab.wait_for_selector(READY)
    assert not hidden(tab)[22, 8] and hidden(tab)[18, 8]
    for _ in range(2): tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_selector(READY)
    assert tab.locator("[name=q][value='2'], [name=q][value='3']").locator(":scope:checked").count() == 1 and "m=" not in tab.url
    for name in "Hide all", "Show all":
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == name
    tab.keyboard.press("Tab")
    tab.wait_for_selector(READY)
    tab.keyboard.press("End")
    assert tab.locator("[name=k]").get_attribute("aria-valuetext").startswith("256 samples, distance 0.")
    assert "k=256" in tab.url


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 360)])
def test_shuts_nobody_out(browser, site, scheme, width):
    with browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme) as tab:
        for page in "index", "demo":
            tab.goto(f"{site}{page}.html?k=8")
            tab.locator("cvae-demo").scroll_into_view_if_needed()
            tab.wait_for_selector(READY)
            if page == "demo": tab.get_by_role("button", name="Draw your own").click()
            violations = Axe().run(tab, "cvae-demo").response["violations"]
            assert {v["id"]: v["nodes"][0]["html"] for v in violations} == {}
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            boxes = tab.eval_on_selector_all("cvae-demo :is(button, label, [type=range])", "all => all.map(e => e.getBoundingClientRect()).filter(b => b.width).map(b => Math.min(b.width, b.height))")
            assert min(boxes) >= 24  # big enough for a finger


@pytest.mark.parametrize("visits", [8, pytest.param(200, marks=pytest.mark.long)])
def test_fuzz_of_query_strings(demo, visits):
    rng = random.Random(0)
    values = ["", "-1", "1e99", "NaN", "Infinity", "0x10", "1.5", "999999999999", "<img src=x onerror=alert(1)>", "%00", "../..", "null", "[]", "١", "-0", "64"]
    alerts = []
    for n in range(visits):
        names = rng.sample(["digit", "q", "m", "seed", "k", "t", "a", "b", "__proto__", "constructor", "digit"], 5)
        tab = demo("?" + urlencode([(name, rng.choice(values)) for name in names]))
        if n == 0: tab.on("dialog", lambda dialog: alerts.append(dialog.message) or dialog.dismiss())
        assert 1 <= int(tab.inner_text("[data-part=k-value]")) <= 256 and distance(tab) >= 0
    for query in "?%", "?&&==", "?k=%E0%A4%A", "?" + "k=1&" * 500, "?m=" + "_" * 131, "?m=" + "A" * 130, "?m=" + "A" * 130 + "!": demo(query)
    assert alerts == [] and tab.locator("cvae-demo img").count() == 0


def test_settings_are_numbers_in_their_ranges(demo):
    tab = demo()
    read = """async queries => { const { readSettings, writeSettings } = await import('/cvae-tutorial/demo/demo.js');
              return queries.map(query => { const settings = readSettings(query); return [settings, readSettings(writeSettings(settings))]; }); }"""
    rng, bounds = random.Random(0), {"digit": (0, 95), "q": (1, 3), "seed": (0, 999999), "k": (1, 256), "t": (0, 2), "a": (-3, 3), "b": (-3, 3)}
    queries = [urlencode({name: rng.choice([rng.gauss(0, 10), rng.randrange(-10**9, 10**9), rng.randbytes(3), chr(rng.randrange(1, 50_000))]) for name in bounds})
               for _ in range(300)]
    for query, (settings, again) in zip(queries, tab.evaluate(read, queries)):
        assert settings == again and settings.keys() == {*bounds, "m"}
        assert all(low <= settings[name] <= high for name, (low, high) in bounds.items()), query


def test_drawn_digits_are_answered(demo):
    "A one, a dot, nothing, and scribbles that leave the pad"
    tab = demo()
    tab.get_by_role("button", name="Draw your own").click()
    pad = tab.locator("[data-part=drawing]")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()

    def draw(points):
        tab.mouse.move(box["x"] + points[0][0], box["y"] + points[0][1])
        tab.mouse.down()
        for x, y in points[1:]: tab.mouse.move(box["x"] + x, box["y"] + y, steps=3)
        tab.mouse.up()
        tab.wait_for_selector(READY)

    draw([(60, 40), (60, 240)])
    ink = 255 - np.array(pixels(tab, "truth")).reshape(28, 28, 4)[..., 0].astype(float)
    rows, columns = np.nonzero(ink > 20)
    assert np.ptp(rows) + 1 in (19, 20, 21, 22) and rows.mean() == pytest.approx(13.5, abs=.6)
    assert columns.mean() == pytest.approx(13.5, abs=.6)  # centred, wherever it was drawn
    assert tab.inner_text("[data-part=truth-title]") == "your drawing" and tab.locator("[name=digit]:checked").count() == 0

    rng = random.Random(0)
    for n in range(12):
        if n % 3 == 0: tab.get_by_role("button", name="Clear").click()
        draw([(rng.uniform(-50, 330), rng.uniform(-50, 330)) for _ in range(rng.randrange(1, 6))])
        assert 0 <= distance(tab) < 3
    tab.locator("[name=digit]").nth(2).check(force=True)
    tab.wait_for_selector(READY)
    assert tab.inner_text("[data-part=truth-title]").startswith("truth: a ")


def test_brush_hides_and_reveals(demo):
    "By mouse; what the networks see is what is shown; a link carries the mask, and another digit keeps it"
    tab = demo()
    tab.get_by_role("button", name="Show all").click()
    tab.wait_for_selector(READY)
    assert not hidden(tab).any() and tab.inner_text("[data-part=distance]") == "Nothing is hidden, so there is nothing to draw."
    box = tab.locator("[data-part=input]").bounding_box()

    def stroke(*points):
        at = [(box["x"] + x*box["width"], box["y"] + y*box["height"]) for x, y in points]
        tab.mouse.move(*at[0])
        tab.mouse.down()
        for point in at[1:]: tab.mouse.move(*point, steps=5)
        tab.mouse.up()
        tab.wait_for_selector(READY)

    stroke((.2, .5), (.8, .5))
    line = hidden(tab)
    rows, columns = np.nonzero(line)
    assert set(rows) <= {11, 12, 13, 14, 15, 16} and set(columns) >= set(range(6, 22)) and 60 < line.sum() < 130
    tab.locator("[name=brush][value='1']").check()
    stroke((.5, .3), (.5, .7))
    assert not hidden(tab)[13, 13] and hidden(tab)[13, 7] and hidden(tab)[13, 20]
    seen, said = {part: pixels(tab, part) for part in ("input", "mean", "doubt", "walk")}, tab.inner_text("[data-part=mix]")
    address = tab.url
    assert len(address) < 300
    tab.goto("about:blank")
    tab.goto(address)
    tab.wait_for_selector(READY)
    assert {part: pixels(tab, part) for part in seen} == seen and tab.inner_text("[data-part=mix]") == said
    blue = np.array(seen["doubt"]).reshape(28, 28, 4).astype(int)
    assert (np.ptp(blue[..., :3], axis=-1)[~hidden(tab)] == 0).all()  # only hidden pixels can be in doubt
    tab.locator("[name=digit]").nth(7).check(force=True)
    tab.wait_for_selector(READY)
    assert (hidden(tab) == (np.array(seen["input"]).reshape(28, 28, 4)[..., 0] == 198)).all()  # another digit, the same mask
    tab.get_by_role("button", name="Hide all").click()
    tab.wait_for_selector(READY)
    assert hidden(tab).all() and np.ptp(np.array(pixels(tab, "doubt")).reshape(-1, 4)[:, :3], axis=-1).max() > 100


def test_brush_works_by_touch(browser, site):
    with browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}) as context:
        tab = context.new_page()
        tab.goto(f"{site}demo.html?q=3")
        tab.locator("cvae-demo").scroll_into_view_if_needed()
        tab.wait_for_selector(READY)
        tab.locator("[data-part=input]").scroll_into_view_if_needed()
        box, before = tab.locator("[data-part=input]").bounding_box(), hidden(tab)
        at, scrolled = [(box["x"] + part*box["width"], box["y"] + box["height"]/4) for part in (.2, .4, .6)], tab.evaluate("scrollY")
        touch = context.new_cdp_session(tab)
        for kind, points in (("touchStart", at[:1]), ("touchMove", at[1:2]), ("touchMove", at[2:]), ("touchEnd", [])):
            touch.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=[dict(x=x, y=y) for x, y in points]))
        tab.wait_for_selector(READY)
        assert not before[7, 6:16].any() and hidden(tab)[7, 6:16].all() and tab.evaluate("scrollY") == scrolled and "m=" in tab.url


def test_says_so_without_weights_and_tries_again(tab, site):
    for trouble in (lambda route: route.abort(), lambda route: route.fulfill(status=404),
                    lambda route: route.fulfill(body="<html>log in first</html>")):
        tab.route("**/weights.safetensors", trouble)
        if tab.url == "about:blank": tab.goto(f"{site}demo.html")
        else: tab.get_by_role("button", name="try again").click()
        tab.wait_for_selector(f"{READY} [role=alert]")
        assert "could not be fetched (weights.safetensors: " in tab.get_by_role("alert").inner_text()
        tab.unroute("**/weights.safetensors")
    tab.get_by_role("button", name="try again").click()
    tab.locator("[data-part=distance]").filter(has_text="Distance").wait_for()


class Losing(Quiet):
    "A server that loses the connection in the middle of the weights: says nothing more, hangs up, or hangs up without having said how much would come"
    trouble, half, over = None, threading.Event(), threading.Event()

    def do_GET(self):
        if not (self.trouble and self.path.endswith("weights.safetensors")): return super().do_GET()
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        if self.trouble != "unsaid": self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:len(content)//2])
        self.wfile.flush()
        self.half.set()
        if self.trouble == "silence": self.over.wait()


@pytest.mark.parametrize("trouble, said", [("silence", "nothing has come for 10 seconds"), ("hangs up", "network error|Failed to fetch"), ("unsaid", r"\d+ of \d+ bytes came")])
def test_the_network_goes_in_the_middle_of_the_download(tab, site, built, trouble, said):
    "The page says what it does, then that it failed; a click fetches the rest, and it works"
    server = ThreadingHTTPServer(("localhost", 0), partial(Losing, directory=built / "_docs"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Losing.trouble = trouble
    Losing.half.clear()
    Losing.over.clear()
    came = []
    tab.on("requestfinished", lambda request: came.append(request.url.rpartition("/")[2]))
    tab.clock.install()
    tab.goto(f"http://localhost:{server.server_port}/demo.html")
    tab.locator("cvae-demo").scroll_into_view_if_needed()
    if trouble == "silence":
        while "digits.safetensors" not in came: tab.wait_for_timeout(50)  # of real time: only the weights stay away
        tab.get_by_role("status").filter(has_text="Fetching the networks").wait_for()
        assert Losing.half.wait(30)
        for _ in range(9):  # the second half of what came may arrive in between
            if not tab.get_by_role("alert").is_visible(): tab.clock.fast_forward(5_000)
    tab.wait_for_selector(f"{READY} [role=alert]")
    assert re.search(rf"could not be fetched \(weights.safetensors: .*({said})", tab.get_by_role("alert").inner_text())
    Losing.trouble = None
    Losing.over.set()
    tab.get_by_role("button", name="try again").click()
    tab.locator("[data-part=distance]").filter(has_text="Distance").wait_for()
    assert tab.get_by_role("alert").filter(visible=True).count() == 0
    server.shutdown()


@pytest.mark.parametrize("page", ["demo", "index", "short"])
def test_a_page_from_a_file_says_what_it_needs(tab, site, built, page):
    "Text and pictures are there; what browsers do not run from files is named, with the way to run it"
    tab.goto(f"{(built / '_docs').as_uri()}/{page}.html")
    alert = tab.get_by_role("alert").filter(has_text="browsers run none from there")
    alert.wait_for()
    assert "python -m http.server" in alert.inner_text() and f"localhost:8000/{page}.html" in alert.inner_text()
    assert tab.evaluate("[...document.images].filter(i => i.loading != 'lazy' && !i.naturalWidth).length") == 0
    tab.goto(f"{site}{page}.html")
    assert not tab.locator("[data-missing]").filter(visible=True).count()


@pytest.mark.parametrize("name", ["demo.js", "net.js"])
def test_a_program_that_does_not_come_is_missed(tab, site, name):
    "The network goes before the page's program has come"
    tab.route(f"**/{name}", lambda route: route.abort())
    tab.goto(f"{site}demo.html")
    tab.get_by_role("alert").filter(has_text="did not arrive").wait_for()
    tab.unroute(f"**/{name}")
    tab.get_by_role("link", name="load the page again").click()
    tab.locator("[data-part=distance]").filter(has_text="Distance").wait_for()


def test_works_without_scripts(browser, site):
    with browser.new_page(java_script_enabled=False) as tab:
        for page in "demo", "index":
            tab.goto(f"{site}{page}.html")
            assert "browser" in tab.locator("cvae-demo").inner_text() and tab.locator("cvae-demo a").filter(visible=True).count() == 1
        tab.goto(f"{site}demo.html#fig-still")
        assert tab.locator("#fig-still img").is_visible()


def test_nothing_moves_for_those_who_ask_for_that(browser, site):
    for motion, seconds in ("reduce", "0s"), ("no-preference", "0.2s"):
        with browser.new_page(reduced_motion=motion) as tab:
            tab.goto(f"{site}demo.html")
            tab.wait_for_selector(READY)
            assert tab.eval_on_selector(".bars i", "bar => getComputedStyle(bar).transitionDuration") == seconds
