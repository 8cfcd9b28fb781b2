"""Change the library in one place at a time and see whether a test notices: `make mutants`, or with names of modules.

Counts and survivors go into `results/mutation.json`; a reason that somebody wrote beside a survivor there stays for as long as its line does.
Every verdict is kept in `runs/mutants.jsonl`: a second start goes on, and judges again those that survived."""
import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from difflib import SequenceMatcher
from hashlib import sha256
from importlib.metadata import version
from itertools import accumulate, groupby
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from threading import Timer

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from fastcore.script import Param, call_parse
from nbdev.test import test_nb
from tqdm import tqdm

root = Path(__file__).parent.parent
library, results = root / "cvae_tutorial", root / "cvae_tutorial/results/mutation.json"
judged, times = root / "runs/mutants.jsonl", root / "runs/test-seconds.jsonl"
# One replacement of each operator, not all eleven. `|` and `&` join types too, so they are left out.
OPERATORS = re.compile("core/(" + "|".join([
    "ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul)",
    "ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt|Is_IsNot|IsNot_Is)",
    "ReplaceUnaryOperator_(USub_UAdd|Delete_Invert|Delete_Not)", "AddNot", "NumberReplacer", "ExceptionReplacer", "RemoveDecorator",
    "Replace(True|False|And|Or|Break|Continue)With.*", "ZeroIterationForLoop"]) + ")")
# Processes, a browser, an installation, the notebooks' form: they build on files that no mutant changes.
ELSEWHERE = "faults", "demo", "site", "short", "kernel", "packaging", "notebooks", "wings", "numbers", "project", "addresses"
BUDGET, SECONDS = 90, 240  # of tests for one mutant, as timed without one; after SECONDS it loops without end
ROW = "key", "module", "line", "operator", "before", "after"


def meaning(code: str) -> str:
    "Equal for texts that do the same: only blanks differ, or who may pass an argument by its place (cosmic-ray makes a / of a lone *)"
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if not isinstance(node, ast.arguments): continue
        node.args, node.posonlyargs, node.kwonlyargs = node.posonlyargs + node.args + node.kwonlyargs, [], []
        node.defaults, node.kw_defaults = [default for default in node.defaults + node.kw_defaults if default], []
    return ast.dump(tree)


def mutants(module: str) -> list[dict]:
    "Every change of a module that alters its meaning: the line before and after, where it is, and the whole text"
    code = path_of(module).read_text(encoding="utf-8")
    tree, meanings, found = get_ast(code), {meaning(code)}, []
    for name in filter(OPERATORS.fullmatch, operator_names()):
        operator = get_operator(name)()
        places = range(sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(tree)))
        for n in places[::2] if name.endswith("NumberReplacer") else places:  # one more; one less is every other
            try: new_meaning = meaning(text := mutate_code(code, operator, n))
            except (SyntaxError, AttributeError): continue  # cosmic-ray stumbles over an exception with a dot in its name
            if new_meaning in meanings: continue
            meanings.add(new_meaning)
            old, new = code.splitlines(), text.splitlines()
            changes = [change for change in SequenceMatcher(None, old, new, False).get_opcodes() if change[0] != "equal"]
            before, after = (" ".join(line.strip() for _, a, b, c, d in changes for line in part(a, b, c, d))
                             for part in (lambda a, b, c, d: old[a:b], lambda a, b, c, d: new[c:d]))
            found.append(dict(module=module, line=changes[0][1] + 1, operator=name.removeprefix("core/"), before=before, after=after, text=text,
                              key=sha256(text.encode()).hexdigest()[:16]))
    return found


def path_of(module: str, base: Path = library) -> Path: return base / f"{module.replace('.', '/')}.py"


def use_the_library(path: Path):
    "A page whose exported cells are taken from the library instead: its tests then test the mutant"
    page = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in page["cells"] if cell["cell_type"] == "code"]
    module = re.search(r"^#\| *default_exp ([\w.]+)", "\n".join("".join(cell["source"]) for cell in code), flags=re.M)
    for n, cell in enumerate(cell for cell in code if re.match(r"#\| *exports?\b", "".join(cell["source"]))):
        cell["source"] = [] if n else [f"import cvae_tutorial.{module[1]} as library\n", "globals().update(vars(library))"]
    path.write_text(json.dumps(page), encoding="utf-8")


def prepare(base: str):
    "A worker's own copy of the repository, and what every test imports, once"
    global copy
    os.environ.update(CVAE_TUTORIAL_DATA="sample", OMP_NUM_THREADS="1", TQDM_DISABLE="1", MPLBACKEND="agg")
    copy = Path(mkdtemp(dir=base)) / root.name
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".*", "runs", "_docs", "_proc", "__pycache__"))
    for path in (copy / "nbs").glob("[0-9]*.ipynb"): use_the_library(path)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path.insert(0, str(copy))
    os.chdir(copy)
    import hypothesis, matplotlib.pyplot, pyro, safetensors.torch, torch, torchvision  # noqa: E401, F401


class Watch:
    "A plugin of pytest: the seconds of each test, and which one failed first"
    def __init__(self): self.seconds, self.failed, self.why = {}, None, None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        start = time.monotonic()
        yield
        self.seconds[item.nodeid] = time.monotonic() - start

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.failed: self.failed, self.why = report.nodeid, str(report.longrepr)[-500:]


def run_tests(names: list[str], watch: Watch) -> bool:
    "Do they pass, up to the first that does not?"
    return not names or pytest.main(["-xqq", "-p", "no:cacheprovider", "--tb=short", *names], plugins=[watch]) == 0


def run_page(name: str) -> bool:
    return test_nb(copy / name, skip_flags=["slow"], showerr=False)[0]


def clock(name: str) -> dict[str, float] | str:
    "The seconds of each test of a file, or of a page; without a mutant all of them pass"
    start, watch = time.monotonic(), Watch()
    passed = run_page(name) if name.endswith(".ipynb") else run_tests([name], watch)
    if not passed: return f"{watch.failed} {watch.why}"
    return watch.seconds or {name: time.monotonic() - start}


def clock_in_a_fork(name: str): return in_a_fork(clock, name)


def choose(module: str, seconds: dict[str, dict[str, float]]) -> list[str]:
    "Tests of a module's own file, then of others that import it, the quickest first; then its page, unless it takes too long"
    importing = re.compile(rf"^ *(from|import) cvae_tutorial(\.{re.escape(module)} |.* {module}\b)", flags=re.M)
    own = f"tests/test_{module.rpartition('.')[2]}.py"
    tests = [(name != own, spent, test) for name in seconds if name == own or name.startswith("tests/") and importing.search((root / name).read_text(encoding="utf-8"))
             for test, spent in seconds[name].items()]
    total = accumulate(spent for _, spent, _ in sorted(tests))
    chosen = [test for (_, _, test), so_far in zip(sorted(tests), total) if so_far < BUDGET]
    return chosen + [page for page in [page_of(module)] if seconds[page][page] < BUDGET]


def page_of(module: str) -> str:
    "The notebook that a module is exported from"
    return re.search(r"nbs/\w+\.ipynb", path_of(module).read_text(encoding="utf-8"))[0]


def in_a_fork(do: Callable, *args):
    "The value of do(*args), computed in a process of its own, so that nothing is imported twice; None if it crashed or took too long"
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.setsid()
        with open(os.devnull, "w") as nowhere: os.dup2(nowhere.fileno(), 1), os.dup2(nowhere.fileno(), 2)
        try: value = do(*args)
        except Exception as error: value = repr(error)
        with os.fdopen(writing, "w") as file: json.dump(value, file)
        os._exit(0)
    os.close(writing)
    timer = Timer(SECONDS, os.killpg, (child, signal.SIGKILL))
    timer.start()
    with os.fdopen(reading) as file: said = file.read()
    timer.cancel()
    os.waitpid(child, 0)
    return json.loads(said) if said else None


def test(names: list[str]) -> str:
    "Who notices first: a test, a page, or nobody"
    for page, group in groupby(names, lambda name: name.endswith(".ipynb")):
        watch, group = Watch(), list(group)
        if page and not run_page(*group): return group[0]
        if not page and not run_tests(group, watch): return watch.failed or "import"
    return "nobody"


def judge(mutant: dict) -> dict:
    "Who notices a mutant"
    path, start = path_of(mutant["module"], copy / library.name), time.monotonic()
    original = path.read_text(encoding="utf-8")
    path.write_text(mutant["text"], encoding="utf-8")
    by = in_a_fork(test, mutant["tests"]) or "time"
    path.write_text(original, encoding="utf-8")
    return dict({name: mutant[name] for name in ROW}, by=str(by), seconds=round(time.monotonic() - start, 1))


def clocked(pool, modules: list[str]) -> dict[str, dict[str, float]]:
    "The seconds of each test of each file and page that can notice something; kept for as long as the file stays as it is"
    files = [f"tests/{path.name}" for path in sorted((root / "tests").glob("test_*.py")) if path.stem.removeprefix("test_") not in ELSEWHERE]
    files += [page_of(module) for module in modules]
    texts = {name: sha256((root / name).read_bytes()).hexdigest() for name in files}
    known = {row["name"]: row["seconds"] for row in read(times) if row["text"] == texts.get(row["name"])}
    todo = [name for name in files if name not in known]
    with times.open("a") as file:
        for name, seconds in zip(todo, tqdm(pool.map(clock_in_a_fork, todo), total=len(todo), desc="tests and pages")):
            if not isinstance(seconds, dict): sys.exit(f"{name} says nothing about mutants, since without one: {seconds or 'it takes too long'}")
            known[name] = seconds
            print(json.dumps(dict(name=name, text=texts[name], seconds=seconds)), file=file, flush=True)
    return {name: known[name] for name in files}


def read(path: Path) -> list[dict]: return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(sizes: dict[str, int], rows: list[dict]):
    "Counts and survivors, with the reasons that were written beside them"
    old = json.loads(results.read_text(encoding="utf-8")) if results.exists() else dict(modules={}, survivors=[])
    reasons = {(s["module"], s["before"], s["after"]): s["reason"] for s in old["survivors"] if s.get("reason")}
    survivors = [dict({key: row[key] for key in ROW[1:]}, reason=reasons.get((row["module"], row["before"], row["after"]), ""))
                 for row in rows if row["by"] == "nobody"]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, text=True, capture_output=True).stdout.strip()
    for name, size in sizes.items():
        by = ["a page" if row["by"].endswith(".ipynb") else row["by"] for row in rows if row["module"] == name]
        old["modules"][name] = dict(mutants=size, tried=len(by), killed=len(by) - by.count("nobody"), by_a_page=by.count("a page"), by_time=by.count("time"), commit=commit)
    old["modules"] = {name: old["modules"][name] for name in sorted(old["modules"]) if path_of(name).exists()}
    made = dict(cosmic_ray=version("cosmic-ray"), torch=version("torch"))
    kept = [s for s in old["survivors"] if s["module"] not in sizes]
    results.write_text(json.dumps(dict(made=made, modules=old["modules"], survivors=kept + survivors), indent=1, ensure_ascii=False) + "\n")


@call_parse
def main(
    modules: Param("such as data or kit.files; without a name all of story and kit", nargs="*"),
    most: int = 1_000_000,  # mutants of a module; which ones is random, always in the same order
):
    "Mutate modules and test the mutants"
    every = [".".join(path.relative_to(library).with_suffix("").parts) for path in sorted(library.rglob("[!_]*.py"))]
    modules = modules or [name for name in every if not name.startswith("reports.")]
    judged.parent.mkdir(exist_ok=True)
    known, found = {row["key"]: row for row in read(judged)}, {name: mutants(name) for name in modules}
    chosen = [mutant for of_one in found.values() for mutant in random.Random(0).sample(of_one, len(of_one))[:most]]
    left = [mutant for mutant in chosen if known.get(mutant["key"], {}).get("by", "nobody") == "nobody"]
    with (TemporaryDirectory(prefix="mutants-") as base, judged.open("a") as file,
          ProcessPoolExecutor(os.cpu_count(), get_context("fork"), prepare, (base,)) as pool):
        seconds = clocked(pool, modules)
        tests = {module: choose(module, seconds) for module in modules}
        for mutant in left: mutant["tests"] = tests[mutant["module"]]
        for row in tqdm(pool.map(judge, left), total=len(left), desc="mutants"):
            known[row["key"]] = row
            print(json.dumps(row), file=file, flush=True)
    write({name: len(of_one) for name, of_one in found.items()}, [known[mutant["key"]] for mutant in chosen])
