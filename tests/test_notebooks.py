"Notebooks are the source: the library and README follow from them, and each has what a reader needs."
import json
import re
import runpy
from pathlib import Path

import pytest
from conftest import ROOT, run
from IPython.core.inputtransformer2 import TransformerManager
from nbdev.config import get_config

NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
STORY = [path for path in NOTEBOOKS if path.stem[0] in "01"]  # the tutorial, in its order
ROOMS = {"kit": [path for path in NOTEBOOKS if path.stem[0] == "2"], "reports": [path for path in NOTEBOOKS if path.stem[0] in "34"]}  # what stands behind it
each_page = pytest.mark.parametrize("path", STORY, ids=lambda path: path.stem)
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path) -> list[dict]:
    "The cells of a notebook, with their source as one string"
    return [{**cell, "source": "".join(cell["source"])} for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def has(cell: dict, directive: str) -> bool:
    "Does a code cell have a `#|` line that starts so?"
    return re.search(rf"^#\| *{directive}", cell["source"], flags=re.M) is not None


def contents(folder: Path) -> dict[str, str]:
    "All that nbdev_export and nbdev_clean may write"
    files = [*folder.glob("nbs/*.ipynb"), *folder.glob("cvae_tutorial/**/*.py")]
    return {str(f.relative_to(folder)): f.read_text(encoding="utf-8") for f in files}


def test_export_and_clean_change_nothing(checkout):
    for module in checkout.glob("cvae_tutorial/**/[!_]*.py"): module.unlink()  # what no notebook exports must not come back
    run("nbdev_export", cwd=checkout)
    run("nbdev_clean", cwd=checkout)
    here, made = contents(ROOT), contents(checkout)
    assert {name for name in here | made if here.get(name) != made.get(name)} == set(), "run nbdev_export and nbdev_clean"


def test_readme_follows_from_index():
    readme = runpy.run_path(str(ROOT / "tools/readme.py"))["readme"]()
    assert (ROOT / "README.md").read_text(encoding="utf-8") == readme, "run python tools/readme.py"


def test_sidebar_lists_every_page():
    "The tutorial in its order, then what stands behind it"
    listed = re.findall(r"^ +- (?:href: )?(\w+\.\w+)$", (ROOT / "_quarto.yml").read_text(encoding="utf-8"), flags=re.M)
    tutorial = ["index.ipynb", "short.ipynb", *[path.name for path in [*STORY, *ROOMS["kit"], *ROOMS["reports"]]]]
    assert listed[:len(tutorial)] == tutorial
    assert sorted(listed) == sorted(path.name for path in (ROOT / "nbs").iterdir() if path.suffix in (".ipynb", ".md"))


@each_notebook
def test_code_fits_the_page(path):
    "A desktop shows 95 characters in a line; more would hide behind a scroll bar"
    lines = [line for cell in cells(path) if cell["cell_type"] == "code" and not has(cell, "hide")
             for line in cell["source"].splitlines() if not line.startswith("#|")]
    assert [line for line in lines if len(line) > 95] == []


@each_notebook
def test_opens_in_colab(path):
    cfg = get_config(path=ROOT)
    title, link = cells(path)[:2]
    assert re.match(r"# \S.*\n\n> \S", title["source"])
    assert f"(https://colab.research.google.com/github/{cfg.user}/{cfg.repo}/blob/{cfg.branch}/nbs/{path.name})" in link["source"]

    install = next(cell for cell in cells(path) if cell["cell_type"] == "code")
    assert has(install, "hide$") and has(install, "eval: false$") and f"{cfg.user}/{cfg.repo}" in install["source"]
    compile(TransformerManager().transform_cell(install["source"]), path.name, "exec")  # plain Jupyter runs it too


@each_notebook
def test_saved_outputs_are_fit_to_show(path):
    for cell in cells(path):
        outputs = cell.get("outputs", [])
        assert not any(o["output_type"] == "error" or o.get("name") == "stderr" for o in outputs), cell["source"]
        pictures = [o for o in outputs if any(kind.startswith("image/") for kind in o.get("data", {}))]
        if pictures and not has(cell, "hide$"):
            assert len(pictures) == 1 and has(cell, "fig-cap:") and has(cell, "fig-alt:"), cell["source"]


def minutes_to_read(path: Path) -> tuple[float, float]:
    "Without and with the code: 220 words of prose per minute, 12 seconds per figure with its caption, 40 lines of code per minute"
    prose = "\n".join(cell["source"] for cell in cells(path) if cell["cell_type"] == "markdown")
    figures = len(re.findall(r"^!\[", prose, flags=re.M))
    prose = re.sub(r"<details>.*?</details>|^```.*?^```|^!\[[^\n]*|\]\(\S+\)", "", prose, flags=re.S | re.M)  # folded, drawn, or an address
    words = len(re.findall(r"\w\S*", re.sub(r"\$\$?.*?\$\$?", "formula", prose, flags=re.S)))
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    figures += sum(has(cell, "fig-cap:") for cell in code)
    shown = [cell for cell in code if not any(has(cell, d) for d in ("hide$", "echo: false", "code-fold: true", "export$"))]
    lines = sum(bool(re.match(r"\s*[^#\s]", line)) for cell in shown for line in cell["source"].splitlines())
    return (read := words/220 + figures/5), read + lines/40


def check_minutes(path: Path, *stated: str):
    for counted, said in zip(minutes_to_read(path), stated, strict=True):
        assert abs(counted - int(said)) <= max(1, .15*counted), f"{said} minutes stated, {counted:.1f} counted"


@each_page
def test_page_says_where_it_stands(path):
    "At its top: reading time, the page before, what there is to learn. At its end: what we know, exercises, the next page."
    texts = [cell["source"] for cell in cells(path) if cell["cell_type"] == "markdown"]
    stated = re.match(r"\[Open in Colab\]\(\S+\) · (\d+) minutes, (\d+) with the code · after .*\[.+\]\((\S+)\)\n\n\*\*You will learn\*\* \w", texts[1])
    assert stated, texts[1]
    check_minutes(path, *stated.groups()[:2])
    order = ["index.ipynb", *[page.name for page in STORY], "38_run.ipynb"]
    place = order.index(path.name)
    know, exercises = texts[-2:]
    assert stated[3] == order[place - 1] and re.search(rf"\n\n\*\*Next:\*\* \[.+\]\({order[place + 1]}\)$", exercises)
    assert "## What we now know\n\n- " in know and exercises.startswith("## Exercises\n\n**1. ")
    asked = len(re.findall(r"^\*\*\d\. ", exercises, flags=re.M))
    assert 2 <= asked <= 4 and asked == exercises.count("<details>\n<summary>Answer</summary>\n\n") == exercises.count("\n\n</details>")


@pytest.mark.parametrize("wing, path", [(wing, path) for wing, paths in ROOMS.items() for path in paths], ids=lambda part: getattr(part, "stem", part))
def test_room_says_what_it_belongs_to(wing, path):
    "At its top: reading time, its wing and where all rooms are shown"
    second = [cell["source"] for cell in cells(path) if cell["cell_type"] == "markdown"][1]
    stated = re.match(rf"\[Open in Colab\]\(\S+\) · (\d+) minutes?, (\d+) with the code · part of the \[{wing}\]\(contributing\.md#the-rooms\)\n\n\S", second)
    assert stated, second
    check_minutes(path, *stated.groups())
