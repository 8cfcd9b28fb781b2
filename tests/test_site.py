"The website in a real browser: every page loads by itself, leads nowhere dead, fits a phone, and shuts nobody out."
import re
from importlib import import_module
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT
from nbdev.config import get_config

from cvae_tutorial import _modidx

SOURCES = {re.sub(r"^\d+_", "", path.stem): path for path in sorted((ROOT / "nbs").iterdir()) if path.suffix in (".ipynb", ".md")}
PAGES = list(SOURCES)
PROSE = """main => { const copy = main.cloneNode(true);
                     copy.querySelectorAll('pre, code, math, script').forEach(e => e.remove()); return copy.textContent; }"""
# documented names that show signature and source, or neither
BOTH_OR_NONE = """() => [...document.querySelectorAll(".cell-output-markdown > h3.anchored")].filter(heading => {
    const signature = heading.parentElement.querySelector(".code-copy-outer-scaffold")
    const defined = new RegExp("(def|class) " + heading.textContent.trim().split(".").pop() + "\\\\b")
    const source = [...document.querySelectorAll("details.code-fold[open]")].some(cell => defined.test(cell.textContent))
    return (getComputedStyle(signature).display != "none") == source
}).map(heading => heading.textContent)"""
# HTML, styles, scripts, fonts and pictures; what scripts fetch later (search index, a network's weights) is data
BYTES = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
           .filter(entry => entry.initiatorType != 'fetch').reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""


@pytest.fixture(scope="module")
def visits(browser, site):
    "Each page once: what it asked for, what went wrong, and what is on it"
    seen = {}
    for name in PAGES:
        tab = browser.new_page(viewport={"width": 360, "height": 780})  # a phone: the narrowest that must work
        visit = seen[f"{site}{name}.html"] = {"requests": [], "troubles": []}
        tab.on("request", lambda r, v=visit: v["requests"].append(r.url))
        tab.on("requestfailed", lambda r, v=visit: v["troubles"].append(f"failed: {r.url}"))
        tab.on("response", lambda r, v=visit: v["troubles"].append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        tab.on("console", lambda m, v=visit: v["troubles"].append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda e, v=visit: v["troubles"].append(str(e)))
        tab.goto(f"{site}{name}.html", wait_until="networkidle")
        visit["pictures"] = tab.eval_on_selector_all("img", "all => all.map(i => [i.alt, i.naturalWidth])")
        visit["links"] = tab.eval_on_selector_all("a[href]:not([href=''])", "all => all.map(a => a.href)")
        visit["anchors"] = tab.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
        visit["overflow"] = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        visit["titles"] = tab.eval_on_selector_all("main :is(h3, h4)", "all => all.map(h => h.textContent)")
        visit["headings"] = tab.eval_on_selector_all("main :is(h1, h2, h3, h4, h5, h6)", "all => all.map(h => +h.tagName[1])")
        visit["formulas"] = tab.locator("math").count()
        visit["prose"] = tab.eval_on_selector("main", PROSE)
        visit["both or none"] = tab.evaluate(BOTH_OR_NONE)
        visit["bytes"] = tab.evaluate(BYTES)
        tab.close()
    return seen


def test_pages_load_by_themselves(visits, site):
    assert {url: v["troubles"] for url, v in visits.items() if v["troubles"]} == {}
    asked = {url for v in visits.values() for url in v["requests"]}
    assert {url for url in asked if not url.startswith((site, "data:"))} == set()


def test_pictures_load_and_say_what_they_show(visits, site):
    assert {url: v["pictures"] for url, v in visits.items() if not all(alt and width for alt, width in v["pictures"])} == {}
    assert visits[f"{site}index.html"]["pictures"] and visits[f"{site}data.html"]["pictures"]


def test_links_inside_the_site_lead_somewhere(visits, site, built):
    links = {(url, link) for url, v in visits.items() for link in v["links"] if link.startswith(site)}
    there = {url for url in visits} | {f"{url}#{anchor}" for url, v in visits.items() for anchor in v["anchors"]}
    there |= {f"{site}{path.relative_to(built / '_docs')}" for path in (built / "_docs").rglob("*.*")}  # to download
    assert {(url, link) for url, link in links if unquote(link) not in there} == set()


def test_pages_lead_to_their_source(visits, site, built):
    "On GitHub under its own name, with the issues; a notebook in Colab and as a download too"
    cfg = get_config(path=built)
    repo = f"github.com/{cfg.user}/{cfg.repo}"
    for name, path in SOURCES.items():
        wanted = {f"https://{repo}/blob/{cfg.branch}/nbs/{path.name}", f"https://{repo}/issues/new"}
        if path.suffix == ".ipynb":
            wanted |= {f"{site}{path.name}", f"https://colab.research.{repo.replace('github.com', 'google.com/github')}/blob/{cfg.branch}/nbs/{path.name}"}
            assert (built / "_docs" / path.name).read_bytes() == (built / "nbs" / path.name).read_bytes()
        assert wanted <= set(visits[f"{site}{name}.html"]["links"])


def test_reference_has_every_public_name(visits, site, built):
    "With a line of the source each, and links from the names in prose to their pages"
    page = visits[f"{site}reference.html"]
    for module, names in _modidx.d["syms"].items():
        public = [name.removeprefix(f"{module}.") for name in names if not re.search(r"\._", name)]
        assert set(import_module(module).__all__) | set(public) <= set(page["titles"])
        lines = {link for link in page["links"] if re.search(rf"/{module.replace('.', '/')}\.py#L\d+$", link)}
        assert len(lines) == len(public)
    assert f"{site}kit_fitting.html#fit" in visits[f"{site}training.html"]["links"]


def test_pages_fit_a_phone(visits):
    assert {url: v["overflow"] for url, v in visits.items() if v["overflow"] > 0} == {}


def test_pages_are_light(visits):
    sizes = {url: v["bytes"] for url, v in visits.items()}
    assert min(sizes.values()) > 100_000  # styles and scripts were counted
    assert {url: size for url, size in sizes.items() if size > 2_000_000} == {}


def test_front_page_is_usable_soon(tab, site):
    "Shown and listening, on a machine four times slower. On a quiet one it takes a fraction of these two seconds."
    slow = tab.context.new_cdp_session(tab)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    times = []
    for _ in range(3):
        slow.send("Network.clearBrowserCache")
        tab.goto(f"{site}index.html", wait_until="load")
        tab.get_by_label("Search").focus()
        times.append(tab.evaluate("""() => ({
            shown: performance.getEntriesByName('first-contentful-paint')[0].startTime,
            listening: performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd, focus: performance.now()})"""))
    print(f"front page, CPU slowed four times, ms: {times}")
    assert min(max(t["shown"], t["listening"]) for t in times) < 2000


def test_headings_go_down_one_step_at_a_time(visits):
    levels = {url: [0, *v["headings"]] for url, v in visits.items()}
    assert {url: h for url, h in levels.items() if h.count(1) != 1 or any(b > a + 1 for a, b in zip(h, h[1:]))} == {}


def test_formulas_are_drawn(visits, site):
    assert visits[f"{site}cvae.html"]["formulas"] > 10 and visits[f"{site}evaluation.html"]["formulas"] > 10
    raw = {url: re.findall(r"\$.{0,40}|\\[(\[a-z].{0,40}", v["prose"]) for url, v in visits.items()}
    assert {url: tex for url, tex in raw.items() if tex} == {}


def test_dark_stays_dark(tab, site):
    def is_dark(): return tab.evaluate("document.documentElement.classList.contains('quarto-dark')")
    def paper(): return tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.goto(f"{site}index.html")
    assert not is_dark() and paper() == "rgb(255, 255, 255)"
    tab.click(".quarto-color-scheme-toggle")
    tab.wait_for_function("document.documentElement.classList.contains('quarto-dark')")
    dark = paper()
    assert max(map(int, re.findall(r"\d+", dark))) < 60
    tab.reload()
    assert is_dark() and paper() == dark
    tab.goto(f"{site}cvae.html")
    assert is_dark() and paper() == dark


def test_search_finds_importance_sampling(tab, site):
    tab.goto(f"{site}index.html")
    tab.get_by_label("Search").fill("importance")
    results = tab.locator(".search-result")
    results.first.wait_for()
    addresses = results.evaluate_all("all => all.map(a => a.href)")
    assert all(address.startswith(site) for address in addresses)
    assert any(address.startswith(f"{site}evaluation.html") for address in addresses)
    results.first.click()
    tab.wait_for_url(addresses[0])
    assert "importance" in tab.inner_text("main").lower()


WORKSHOP = [name for name in PAGES if name.startswith(("kit_", "report_"))]
STORY = [name for name in PAGES if name not in WORKSHOP]


@pytest.mark.parametrize("scheme, width, names", [("light", 1280, STORY), ("dark", 360, STORY), ("dark", 1280, WORKSHOP)],
                         ids=["light desktop", "dark phone", "dark desktop, the workshop"])
def test_nobody_is_shut_out(browser, site, scheme, width, names):
    found = {}
    for name in names:
        with browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme) as tab:
            tab.goto(f"{site}{name}.html")
            assert tab.evaluate("document.documentElement.classList.contains('quarto-dark')") == (scheme == "dark")
            violations = Axe().run(tab).response["violations"]
            found[name] = {v["id"]: v["nodes"][0]["html"] for v in violations if v["impact"] in ("serious", "critical")}
    assert {name: violations for name, violations in found.items() if violations} == {}


def test_each_name_shows_its_signature_or_its_source(visits):
    found = {url: v["both or none"] for url, v in visits.items()}
    assert {url: names for url, names in found.items() if names} == {}


def test_machines_find_every_page(site, built):
    docs, cfg = built / "_docs", get_config(path=built)
    home = f"{cfg.doc_host}{cfg.doc_baseurl}/"
    sitemap, llms = ((docs / name).read_text(encoding="utf-8") for name in ("sitemap.xml", "llms.txt"))
    for name in PAGES:
        assert f"<loc>{home}{name}.html</loc>" in sitemap and f"{home}{name}.llms.md" in llms
        assert re.search(r"^# \S", (docs / f"{name}.llms.md").read_text(encoding="utf-8"), flags=re.M)
        page = (docs / f"{name}.html").read_text(encoding="utf-8")
        said = dict(re.findall(r'<(?:meta (?:name|property)|link rel)="([\w:]+)" (?:content|href)="([^"]+)"', page))
        assert said["description"] and said["og:title"] and said["og:description"] == said["description"]
        assert said["canonical"] == home + ("" if name == "index" else f"{name}.html")
        assert said["og:image"].startswith(home) and (docs / said["og:image"].removeprefix(home)).is_file()
