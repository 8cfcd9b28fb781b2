"Three wings: the kit never imports the story, the story never imports the reports, and a page of the story shows its idea and little else."
import ast
import re
import statistics
from pathlib import Path

import pytest
from conftest import ROOT
from test_notebooks import NOTEBOOKS, cells, has

LIBRARY = ROOT / "cvae_tutorial"
MODULES = {str(path.relative_to(LIBRARY).with_suffix("")).replace("/", "."): path for path in sorted(LIBRARY.rglob("[!_]*.py"))}
WINGS = "kit", "story", "reports"  # each may use those before it


def module_of(path: Path) -> str:
    "What a notebook exports to, '' for none"
    named = re.search(r"^#\| *default_exp ([\w.]+)$", "\n".join(cell["source"] for cell in cells(path)), flags=re.M)
    return named[1] if named else ""


def wing(module: str) -> str:
    return module.partition(".")[0] if "." in module else "story"


def imported(path: Path) -> set[str]:
    "The modules of the library that a module imports, wherever in it"
    package, found = ("cvae_tutorial", *path.relative_to(LIBRARY).parent.parts), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import): names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[:len(package) + 1 - node.level], *([node.module] if node.module else [])]) if node.level else node.module
            names = [base, *[f"{base}.{alias.name}" for alias in node.names]]
        else: continue
        found |= {name.removeprefix("cvae_tutorial.") for name in names} & MODULES.keys()
    return found


ORDER = [module for module in map(module_of, NOTEBOOKS) if module]
STORY = [path for path in NOTEBOOKS if module_of(path) and wing(module_of(path)) == "story"]


def test_every_module_has_its_notebook():
    assert sorted(ORDER) == sorted(MODULES) and {wing(module) for module in ORDER} == set(WINGS)
    assert "kit.checks" in imported(MODULES["kit.fitting"]) and "cvae" in imported(MODULES["reports.run"])  # that imports are found at all


def test_imports_lead_from_reports_to_story_to_kit():
    against = [(module, other) for module in MODULES for other in imported(MODULES[module])
               if WINGS.index(wing(other)) > WINGS.index(wing(module))]
    assert against == []


def test_imports_never_run_uphill():
    "Within a wing only to pages before it, in the order of the notebooks; so there are no circles either"
    uphill = [(module, other) for module in MODULES for other in imported(MODULES[module])
              if wing(other) == wing(module) and ORDER.index(other) >= ORDER.index(module)]
    assert uphill == []


# ---- What is on a page of the story ----

def lines_of(source: str) -> list[str]:
    "Lines of code: neither blank nor a directive"
    return [line for line in source.splitlines() if line.strip() and not line.startswith("#|")]


def exports(path: Path) -> list[str]:
    return [cell["source"] for cell in cells(path) if cell["cell_type"] == "code" and has(cell, "exports?$")]


def only_imports(source: str) -> bool:
    return all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(source).body)


def kinds(source: str) -> dict[str, int]:
    """How many lines of an exported cell are `idea` and how many `check`, of `all`. Checks are the lines of statements that raise or call
    check_*. Idea are the lines in the bodies of functions and classes, and in tables such as VARIANTS, that are neither signature, decorator,
    docstring, import, comment nor check, nor an `if` or `except` that only leads to one. The one line of `def f(x): return x` is idea."""
    tree, idea, check, leads = ast.parse(source), set(), set(), set()
    def span(node): return set(range(node.lineno, node.end_lineno + 1))
    def checks(node):
        if isinstance(node, ast.Raise): return True
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call): return re.match(r"(\w+\.)*check_", ast.unparse(node.value.func)) is not None
        return isinstance(node, (ast.If, ast.ExceptHandler)) and not getattr(node, "orelse", []) and all(map(checks, node.body))
    defined = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    for node in defined: idea |= set().union(*map(span, node.body))
    for node in tree.body:
        if isinstance(node, ast.Assign): idea |= span(node)
    for node in defined:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str): idea -= span(first)
        start = min([node.lineno, *[d.lineno for d in node.decorator_list]])
        idea -= set(range(start, max(first.lineno, node.lineno + 1))) - ({first.lineno} if first.lineno == node.lineno else set())
        if first.lineno == node.lineno and not isinstance(first, ast.Pass): idea.add(node.lineno)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)): idea -= span(node)
        elif isinstance(node, (ast.Raise, ast.Expr)) and checks(node): check |= span(node)
        elif isinstance(node, (ast.If, ast.ExceptHandler)) and checks(node): leads |= span(node)
    lines = source.splitlines()
    empty = {n for n, line in enumerate(lines, 1) if not line.strip() or line.strip().startswith("#")}
    return dict(all=len(lines_of(source)), idea=len(idea - check - leads - empty), check=len(check - empty))


def test_lines_are_counted_as_they_are_meant_to_be():
    cell = '@typed\ndef f(\n    x:int, # given\n) -> int:\n    "Twice"\n    import math\n    check_number("x", x)\n    if x > 9:\n        raise ValueError("x")\n\n    # so\n    y = (x +\n         x)\n    def g(z): return z\n    return g(y)\n\nN = 3'
    assert kinds(cell) == dict(all=15, idea=5, check=2)
    assert kinds('class A(B):\n    "An A"\n    n: int\n    def f(self, x):\n        return x') == dict(all=5, idea=2, check=0)


def test_the_puzzle_comes_first():
    "At most 20 lines of code stand before it"
    count = 0
    for cell in cells(ROOT / "nbs/00_data.ipynb"):
        if cell["cell_type"] == "code": count += len(lines_of(cell["source"]))
        elif re.search("^## The puzzle", cell["source"], flags=re.M): break
    else: pytest.fail("no heading '## The puzzle'")
    print(f"{count} lines of code before the puzzle")
    assert count <= 20


def test_exported_cells_are_short():
    "Import-only cells left out: a median of at most 8 lines, at most 20 at the 90th percentile"
    sizes = sorted(len(lines_of(source)) for path in STORY for source in exports(path) if not only_imports(source))
    median, tenth = statistics.median(sizes), statistics.quantiles(sizes, n=10, method="inclusive")[-1]
    print(f"{len(sizes)} exported cells: median {median:g} lines, 90th percentile {tenth:g}, longest {sizes[-1]}")
    assert median <= 8 and tenth <= 20


def test_exported_lines_carry_the_idea():
    "At least 40 % are idea and at most 1.5 % are checks; `kinds` says what counts"
    counts = {module_of(path): [kinds(source) for source in exports(path)] for path in STORY}
    total = {key: sum(k[key] for ks in counts.values() for k in ks) for key in ("all", "idea", "check")}
    for module, ks in counts.items():
        every, idea, check = (sum(k[key] for k in ks) for key in ("all", "idea", "check"))
        print(f"{module:12} {every:4} exported lines, idea {idea/every:4.0%}, checks {check/every:5.1%}")
    loaded = sum(len(lines_of(source)) for path in STORY for source in exports(path) if only_imports(source))
    print(f"{'in all':12} {total['all']:4} exported lines, idea {total['idea']/total['all']:.1%}, checks {total['check']/total['all']:.2%}; "
          f"without the {loaded} of cells that only import, idea {total['idea']/(total['all'] - loaded):.1%}")
    assert total["idea"] >= .4*total["all"] and total["check"] <= .015*total["all"]


def test_nothing_is_long():
    "No function over 40 lines, decorators and blank lines included, and no module over 300"
    functions = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                start = min([node.lineno, *[d.lineno for d in node.decorator_list]])
                functions[f"{module}.{node.name}"] = node.end_lineno - start + 1
    modules = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    longest, largest = (max(sizes, key=sizes.get) for sizes in (functions, modules))
    print(f"longest function: {longest}, {functions[longest]} lines; longest module: {largest}, {modules[largest]} lines")
    assert functions[longest] <= 40 and modules[largest] <= 300
