"What several test files share"
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parent.parent
os.environ["CVAE_TUTORIAL_DATA"] = "sample"  # no test downloads anything
FLAGS = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync").split()


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests that take many minutes")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes many minutes; only with --long")


LONGEST = "test_site", "test_faults", "test_fitting", "test_run", "test_demo", "test_short"  # first, so that two workers end together


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    if config.getoption("--long"): return
    for item in items:
        if item.get_closest_marker("long"): item.add_marker(pytest.mark.skip(reason="long; make test-long runs it"))


def copy_to(folder: Path) -> Path:
    "The repository, without what is made from it"
    made = shutil.ignore_patterns(".*", "_docs", "_proc", "runs", "build", "dist", "*.egg-info", "__pycache__")
    return shutil.copytree(ROOT, folder, ignore=made)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    "A copy of the repository to build in, so that tests leave the tree as it is"
    return copy_to(tmp_path_factory.mktemp("copy") / "checkout")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    "A copy of the repository with its website; the first worker that needs it builds it for all"
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ: base = base.parent
    with FileLock(base / "built.lock"):
        if not (base / "built").exists():
            made = copy_to(tmp_path_factory.mktemp("build") / "checkout")
            run(sys.executable, "tools/build_site.py", cwd=made)
            made.rename(base / "built")
    return base / "built"


def run(*command, cwd, **env) -> str:
    "Run a command; fail with all that it printed."
    done = subprocess.run([str(word) for word in command], cwd=cwd, env={**os.environ, **env}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def cannot_run(reason: str):
    "Skip a test on a machine that lacks something; fail where it must run."
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope="session")
def site(built, tmp_path_factory):
    "The address of the website; below a folder, as on GitHub Pages"
    served = tmp_path_factory.mktemp("served")
    (served / "cvae-tutorial").symlink_to(built / "_docs")
    server = ThreadingHTTPServer(("localhost", 0), partial(Quiet, directory=served))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/cvae-tutorial/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    "Debian's chromium"
    from playwright.sync_api import sync_playwright
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium: cannot_run("needs chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=FLAGS)


@pytest.fixture
def tab(browser):
    "An empty tab on a desk, in the light"
    with browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light") as page:
        yield page
