"No address of the site goes dead: each page and anchor that it ever had is still there, or on a page that its page leads to."
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import ROOT

ADDRESSES = (ROOT / "tests/addresses.txt").read_text(encoding="utf-8").split()  # page.html, page.html#anchor; of the changelog the page alone, since its headings change with each version
MACHINES = r"cb\d+(-\d+)?|cell-\d+|quarto-\S+|title-block-header|\S+-caption(-\S+)?|tip\S*|\S+-title|__mermaid\S*|\S+-arrow"  # ids that tools and drawings make for themselves
GONE = {  # names that no page documents any more -> why
    "as_rows": "x.flatten(1), since the signatures say which shape comes", "check_tensor": "shapes and types stand in the signatures", "finite": "check_values refuses what is not finite by itself",
    "save_onnx": "nobody used the ONNX file", "completion": "it was the net of that file", "completion.forward": "it was the net of that file",
    "nets": "load_net is told the class", "names": "MODELS names the two classes too", "failures": "TRAININGS: one of the three does not fail", "runs.writer": "Runs.writers reads the pairs once for all",
    "finite_sample_scores": "brier_score corrects what can be corrected without bias", "measure_controls": "Runs.followed and Runs.doses measure what it did", "runs.controls": "Runs.followed and Runs.doses", "tbl-controls": "the figure of doses took its place",
    "demo-1": "the second heading of that name, now the only one", "run-1": "the second heading of that name, now the only one",
    "hide_quadrants": "hide takes any mask", "train_demo": "the demo has the networks of the package", "evaluate_demo": "measure_quadrants scores them", "make_vectors": "test_demo asks PyTorch itself",
    "fig-turns": "fig-kinds shows all kinds of masks", "tbl-size": "tbl-quadrants of Hide any part", "one-pair-for-three-questions": "Hide any part is about it"}


class Page(HTMLParser):
    "The anchors inside a page's <main>, and the pages of the site that it links to from there"
    def __init__(self, path: Path):
        super().__init__()
        self.anchors, self.pages, self.inside = set(), set(), False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.inside |= tag == "main"
        if not self.inside: return
        if (anchor := attributes.get("id")) and not re.fullmatch(MACHINES, anchor): self.anchors.add(anchor)
        if tag == "a" and (linked := re.fullmatch(r"(?:\./)?([\w-]+\.html)(?:#.*)?", attributes.get("href") or "")): self.pages.add(linked[1])

    def handle_endtag(self, tag):
        if tag == "main": self.inside = False


@pytest.fixture(scope="module")
def pages(site, built) -> dict[str, Page]:
    return {path.name: Page(path) for path in (built / "_docs").glob("*.html")}


def test_pages_are_still_there(pages):
    assert {address.partition("#")[0] for address in ADDRESSES} - pages.keys() == set()


def test_anchors_are_still_there_or_on_a_page_that_theirs_links_to(pages):
    dead = []
    for address in ADDRESSES:
        name, _, anchor = address.partition("#")
        if not anchor or anchor in GONE or name not in pages: continue
        near = [pages[name], *[pages[other] for other in sorted(pages[name].pages) if other in pages]]
        if not any(unquote(anchor) in page.anchors for page in near): dead.append(address)
    assert dead == []


def test_what_is_gone_is_gone(pages):
    "The list of deleted names holds nothing that a page still has"
    assert {anchor for page in pages.values() for anchor in page.anchors} & GONE.keys() == set()
    assert GONE.keys() <= {address.partition("#")[2] for address in ADDRESSES}
