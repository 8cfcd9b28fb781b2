"""Every number that a story page states in words, held to a source

A number in prose (Markdown cells, folded answers, captions) must be on the page already, in its saved outputs or as a literal
in its code, or `numbers.json` must say where it comes from. What that file lists is held to the listed source alone."""
import io
import json
import math
import re
import tokenize
from functools import cache
from random import Random
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT

from cvae_tutorial.kit.files import load_results
from cvae_tutorial.kit.mnist import load_mnist
from cvae_tutorial.reports.tables import claims, mean

PAGES = [path.stem for path in sorted((ROOT/"nbs").glob("[01]*.ipynb"))]
LISTED = json.loads((ROOT/"tests/numbers.json").read_text(encoding="utf-8"))
KINDS = "expression", "world", "run"

PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
NUMBER = re.compile(rf"(?<![\w.])[-−]?(?:{PLAIN})(?:e-?\d+)?")
NO_PROSE = re.compile(r"```.*?```|<(svg|table|script|style)\b.*?</\1>|<!--.*?-->|</?[a-zA-Z][^>]*>|\$\$.*?\$\$|(?<!\\)\$[^$\n]*\$|`[^`]*`"
                      r"|(?<=\])\([^)\s]*\)|\{[#.][^}]*\}|https?://\S+", re.S)
LIST = rf"(?:(?:,| and| to| or|, and| by)? [-−]?(?:{PLAIN}))*"  # in "4 to 5 %" both are percentages
PERCENT = re.compile(rf"{LIST}[  ]?(?:%|percent(?!\w))")
UNIT = re.compile(rf"{LIST}[  -]?(?:%|percent(?!\w)|(?:nats?|bits?|milliseconds?|seconds?|minutes?|hours?|[kMG]B|pixels?|times|points?|"
                  r"degrees?|radians?)(?!\w))")


# ---- What stands on a page ----

def value(text: str) -> float: return float(text.replace(",", "").replace("−", "-"))


@cache
def cells(page: str) -> list[dict]: return json.loads((ROOT/"nbs"/f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]


@cache
def prose(page: str) -> str:
    "Markdown cells and the captions of figures"
    sources = [(c["cell_type"], "".join(c["source"])) for c in cells(page)]
    return "\n\n".join(part for kind, s in sources for part in ([s] if kind == "markdown" else re.findall(r"#\| fig-cap: (.*)", s)))


@cache
def outputs(page: str) -> str:
    "What the page's code printed and returned; without objects such as <Figure size 720x90>"
    made = [o for c in cells(page) for o in c.get("outputs", ())]
    texts = [o["text"] for o in made if o.get("name") == "stdout"] + [
        o.get("data", {}).get(kind, "") for o in made for kind in ("text/plain", "text/markdown")]
    return re.sub(r"<[^<>]*>", " ", "\n".join("".join(t) for t in texts))


@cache
def literals(page: str) -> set[float]:
    "The numbers in the page's code; not in its comments and strings"
    code = ["".join(line for line in c["source"] if line.lstrip()[:1] not in ("%", "!")) for c in cells(page) if c["cell_type"] == "code"]
    tokens = [t.string for c in code for t in tokenize.generate_tokens(io.StringIO(c).readline) if t.type == tokenize.NUMBER]
    return {float(t.replace("_", "")) for t in tokens if re.fullmatch(r"[\d._]+(e-?\d+)?", t)}


@cache
def printed_numbers(page: str) -> set[float]: return {value(m.group()) for m in NUMBER.finditer(outputs(page))}


def numbers(text: str) -> list[re.Match]:
    "The numbers in prose: not code, formulas, addresses or HTML, and no bare whole number from 0 to 12"
    bare = NO_PROSE.sub(lambda m: " "*len(m.group()), text)
    def is_count(m): return re.fullmatch(r"\d|1[012]", m.group()) and not UNIT.match(bare, m.end())
    return [m for m in NUMBER.finditer(bare) if not is_count(m)]


# ---- The sources ----

def states(m: re.Match, source: float) -> bool:
    "Is this the number in prose, to as many digits as prose has? A percentage may stand for a share."
    stated, digits = value(m.group()), len(m.group().partition(".")[2])
    shares = [1, 100] if PERCENT.match(m.string, m.end()) else [1]
    return any(abs(factor*source - stated) <= .50005*10**-digits for factor in shares)  # a hair more than half, for ties in float32


def on_page(page: str, m: re.Match) -> str:
    "Where the page itself has the number: in its outputs, rounded or not, or as a literal in its code; empty if nowhere"
    if any(states(m, n) for n in printed_numbers(page)): return "output"
    stated = abs(value(m.group()))
    return "literal" if stated in literals(page) or PERCENT.match(m.string, m.end()) and stated/100 in literals(page) else ""


def only(pattern: str, text: str) -> float:
    "The one number that stands at the pattern's group"
    found = {m.group(1) for m in re.finditer(pattern, text)}
    assert len(found) == 1, f"{pattern!r} finds {sorted(found)}, not one number"
    return value(found.pop())


def code(page: str) -> list[str]: return ["".join(c["source"]) for c in cells(page) if c["cell_type"] == "code"]


def run_changed(page: str, phrases: tuple[str, ...], changes: dict[str, str]) -> SimpleNamespace:
    "What a page's cells leave behind if the code is changed as an exercise says; a cell is named by a phrase in it"
    held = [[cell for cell in code(page) if phrase in cell] for phrase in phrases]
    assert all(len(found) == 1 for found in held), f"each of {phrases} must stand in one cell of {page}"
    source = "\n".join(found[0] for found in held)
    for old, new in changes.items():
        assert old in source, f"{old!r} is not in the cells of {page} that hold {phrases}"
        source = source.replace(old, new)
    exec(source, names := {"__name__": "changed"})
    return SimpleNamespace(**names)


@cache
def evaluate(page: str, expression: str) -> tuple[float, ...]:
    "The values of an expression of `numbers.json`, one for each number in its text; it may use these:"
    references = (ROOT/"nbs/references.md").read_text(encoding="utf-8")
    names = dict(results=load_results, mean=mean, claims=claims, load_mnist=load_mnist, math=math, torch=torch,
                 printed=lambda pattern, page=page: only(pattern, outputs(page)),  # in the outputs of a page
                 coded=lambda pattern, page=page: only(pattern, "\n".join(code(page))),  # in its code
                 year=lambda label: only(rf"### .* (\d{{4}}) \{{#{label}\}}", references),
                 changed=lambda *phrases, changes=(): run_changed(page, phrases, dict(changes)),
                 more_than=lambda bound, x: bound if x > bound else x,  # prose says "more than", "at least"
                 less_than=lambda bound, x: bound if x < bound else x)
    made = eval(expression, names)
    return tuple(made) if isinstance(made, (list, tuple)) else (made,)


def around(m: re.Match) -> str: return " ".join(m.string[max(0, m.start() - 50):m.end() + 30].split())


def faults(page: str, text: str, listed: list[dict]) -> list[str]:
    "What is wrong with the numbers of a page: one line for each fault"
    found, claimed, wrong = numbers(text), set(), []
    for entry in listed:
        (kind, source), words = *entry["source"].items(), entry["text"]
        if kind not in KINDS: wrong.append(f"{words!r}: a source is one of {KINDS}, not {kind!r}")
        spans = [m.span() for m in re.finditer(re.escape(words), text)]
        if not spans: wrong.append(f"{words!r}: listed, but no longer on the page")
        for start, end in spans:
            inside = [m for m in found if start <= m.start() and m.end() <= end]
            claimed |= {m.start() for m in inside}
            if not inside: wrong.append(f"{words!r}: listed, but without a number")
            if kind != "expression": continue
            try: values = evaluate(page, source)
            except Exception as error:
                wrong.append(f"{words!r}: {source} fails: {error!r}")
                continue
            if len(values) != len(inside): wrong.append(f"{words!r}: {len(inside)} numbers, and {len(values)} values from {source}")
            wrong += [f"{words!r}: {m.group()} is {v:.6g} by {source}" for m, v in zip(inside, values) if not states(m, v)]
    return wrong + [f"{m.group()}: neither in the page's outputs nor in its code, and not listed: … {around(m)} …"
                    for m in found if m.start() not in claimed and not on_page(page, m)]


# ---- Tests ----

@pytest.mark.parametrize("page", PAGES)
def test_every_number_in_prose_has_a_source(page):
    wrong = faults(page, prose(page), LISTED.get(page, []))
    assert not wrong, f"{page}: {len(wrong)} faults; correct the number, or say in tests/numbers.json where it comes from\n" + "\n".join(wrong)


def test_listed_pages_exist():
    assert set(LISTED) <= set(PAGES)


def caught(count: int, seed: int, copied: bool) -> dict[str, bool]:
    "Change a digit of numbers drawn from all pages, one at a time; copied: in the words of `numbers.json` too. Which changes are reported?"
    random, made = Random(seed), {}
    everywhere = [(page, m) for page in PAGES for m in numbers(prose(page))]
    for page, m in random.sample(everywhere, count):
        text, listed = prose(page), LISTED.get(page, [])
        at = random.choice([i for i in range(*m.span()) if text[i].isdigit()])
        digit = random.choice([d for d in "0123456789" if d != text[at]])
        def change(words, start=0): return words[:at - start] + digit + words[at - start + 1:]  # words that stand at start
        def follow(entry):
            starts = [start for start in (n.start() for n in re.finditer(re.escape(entry["text"]), text)) if start <= at < start + len(entry["text"])]
            return entry | {"text": change(entry["text"], starts[0])} if starts else entry
        after = faults(page, change(text), [follow(entry) for entry in listed] if copied else listed)
        made[f"{page}: {around(m)}, changed to {change(text)[m.start():m.end()]}"] = len(after) > len(faults(page, text, listed))
    return made


def test_ten_wrong_digits_are_found():
    found = caught(10, seed=0, copied=False)
    assert all(found.values()), found


@pytest.mark.parametrize("copied, least", [(False, .98), (True, .74)], ids=["in prose", "in prose and list"])
def test_most_wrong_digits_are_found(copied, least):
    "What stays unseen: numbers that another output or literal of the page bears out, and of those copied into the list what has no expression"
    found = caught(200, seed=1, copied=copied)
    assert sum(found.values()) >= least*len(found), "\n".join(change for change, ok in found.items() if not ok)
