"The website in a real browser: every page loads, by itself, with all its pictures and without dead links."
import re
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from conftest import ROOT, cannot_run, run

PAGES = [re.sub(r"^\d+_", "", path.stem) for path in sorted((ROOT / "nbs").glob("*.ipynb"))]
FLAGS = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync").split()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope="module")
def site(checkout):
    "The address of the website, built in a copy of the repository"
    run(sys.executable, "tools/build_site.py", cwd=checkout)
    server = ThreadingHTTPServer(("localhost", 0), partial(Quiet, directory=checkout / "_docs"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    "Debian's chromium"
    from playwright.sync_api import sync_playwright
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium: cannot_run("needs chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=FLAGS)


@pytest.fixture(scope="module")
def visits(browser, site):
    "Each page once: what it asked for, what went wrong, its pictures, links and anchors"
    seen = {}
    for name in PAGES:
        tab = browser.new_page(viewport={"width": 390, "height": 844})  # a phone: the narrowest that must work
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
        tab.close()
    return seen


def test_pages_load_by_themselves(visits, site):
    assert {url: v["troubles"] for url, v in visits.items() if v["troubles"]} == {}
    asked = {url for v in visits.values() for url in v["requests"]}
    assert {url for url in asked if not url.startswith((site, "data:"))} == set()


def test_pictures_load_and_say_what_they_show(visits, site):
    assert {url: v["pictures"] for url, v in visits.items() if not all(alt and width for alt, width in v["pictures"])} == {}
    assert visits[f"{site}index.html"]["pictures"] and visits[f"{site}data.html"]["pictures"]


def test_links_inside_the_site_lead_somewhere(visits, site):
    links = {(url, link) for url, v in visits.items() for link in v["links"] if link.startswith(site)}
    there = {url for url in visits} | {f"{url}#{anchor}" for url, v in visits.items() for anchor in v["anchors"]}
    assert {(url, link) for url, link in links if unquote(link) not in there} == set()


def test_pages_fit_a_phone(visits):
    assert {url: v["overflow"] for url, v in visits.items() if v["overflow"] > 0} == {}
