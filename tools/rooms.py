"Write into nbs/contributing.md what follows from the code: a picture of the rooms from their imports, a table of them, and one of the tests, one of their mutants."
import ast
import json
import re
from pathlib import Path

root = Path(__file__).parent.parent
library, page = root / "cvae_tutorial", root / "nbs/contributing.md"
WINGS = "reports", "story", "kit"  # from the top down: each may use those below it
WIDTH = 776  # of the drawing


def pages() -> list[tuple[str, str, str]]:
    "Module, link and question of each numbered page, in reading order; a page without a module has the module ''"
    rows = []
    for path in sorted((root / "nbs").glob("[0-9]*.ipynb")):
        cells = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
        title, question = re.match(r"# (.+)\n\n> (.+)", cells[0]).groups()
        module = re.search(r"^#\| *default_exp ([\w.]+)$", "\n".join(cells), flags=re.M)
        rows.append((module[1] if module else "", f"[{title}]({path.name})", question))
    return rows


def wing(module: str) -> str:
    "`kit.files` belongs to the kit, `data` to the story"
    return module.partition(".")[0] if "." in module else "story"


def short(module: str) -> str:
    "`kit.files` is `files`"
    return module.rpartition(".")[2]


def imports() -> set[tuple[str, str]]:
    "Which module imports which, inside the library"
    found = set()
    for path in library.rglob("[!_]*.py"):
        parts = (library.name, *path.relative_to(library).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import): names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = ".".join([*(parts[:-node.level] if node.level else ()), *filter(None, [node.module])])
                names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            else: continue
            for name in names:
                package, _, module = name.partition(".")
                if package == library.name and (library / f"{module.replace('.', '/')}.py").exists(): found.add((".".join(parts[1:]), module))
    return found


def band(name: str, modules: list[str], edges: set[tuple[str, str]], top: int) -> tuple[list[str], int]:
    "One wing, and where it ends: a box for each module, and a line to the right with a dot for each later module that imports it"
    order = {module: n for n, module in enumerate(modules)}
    users = {order[m]: sorted(order[a] for a, b in edges if b == m and a in order) for m in modules}
    used = [n for n in users if users[n]]
    width = WIDTH - (44 if name == "story" else 2)  # beside the story, the arrow from reports to kit
    step = (width - 116)/(len(modules) - 1)
    x = [round(59 + step*n) for n in range(len(modules))]
    level = {n: top + 30 + 13*i for i, n in enumerate(used)}
    base = top + 34 + 13*len(used)
    y = [base + 38*(n % 2) for n in range(len(modules))]  # two rows, so that no box covers its neighbor
    lines, dots = [], []
    for n in used: lines.append(f"M{x[n] + 5} {y[n]} V{level[n] + 6} q0 -6 6 -6 H{x[users[n][-1]] - 5}")
    for n in order.values():
        needs = [level[m] for m in used if n in users[m]]
        if needs: lines.append(f"M{x[n] - 5} {y[n]} V{min(needs)}")
        dots += [f'<circle cx="{x[n] - 5}" cy="{here}" r="3.5"/>' for here in needs]
    boxes = [f'<rect x="{x[n] - 39}" y="{y[n]}" width="78" height="28" rx="6"/><text x="{x[n]}" y="{y[n] + 19}" class="name">{short(module)}</text>'
             for module, n in order.items()]
    bottom = max(y) + 38
    return [f'<rect class="band" x="1" y="{top}" width="{width}" height="{bottom - top}" rx="10"/>', f'<g class="how"><text x="12" y="{top + 18}">{name}</text></g>',
            f'<g class="wire"><path d="{" ".join(lines)}"/>', *dots, "</g>", '<g class="box">', *boxes, "</g>"], bottom


def drawing() -> str:
    "The figure: three bands, the imports inside each as lines with dots, those from band to band counted"
    modules = {name: [m for m, *_ in pages() if m and wing(m) == name] for name in WINGS}
    edges = imports()
    count = {(a, b): sum((wing(m), wing(n)) == (a, b) for m, n in edges) for a in WINGS for b in WINGS}
    parts, said, ends, top = [], [], {}, 1
    for name in WINGS:
        lines, bottom = band(name, modules[name], edges, top)
        needs = {m: ", ".join(short(n) for n in modules[name] if (m, n) in edges) for m in modules[name]}
        said.append(f"{name.capitalize()}: {'; '.join(f'{short(m)} imports {n}' if n else short(m) for m, n in needs.items())}.")
        parts, ends[name], top = parts + lines, (top, bottom), bottom + 46
    arrows, counts = [], []
    for a, b, x in ("reports", "story", 366), ("story", "kit", 366), ("reports", "kit", WIDTH - 21):
        arrows.append(f'<path d="M{x - 2} {ends[a][1]} h4 V{ends[b][0] - 10} h5 l-7 9 -7 -9 h5 z"/>')
        counts.append(f'<text x="{x - 12}" y="{ends[b][0] - 18}" text-anchor="end">{count[a, b]} from {a} to {b}</text>')
        said.append(f"{count[a, b]} imports lead from {a} to {b}.")
    up = sum(count[a, b] for a in WINGS for b in WINGS[:WINGS.index(a)])
    said.append(f"{up or 'None'} lead up.")
    return "\n".join([
        '<figure class="diagram" id="fig-rooms" tabindex="0">',
        f'<svg viewBox="0 0 {WIDTH} {ends["kit"][1] + 1}" role="img" aria-labelledby="rooms-title">',
        f'<title id="rooms-title">Three bands of rooms. {" ".join(said)}</title>', *parts,
        '<g class="between">', *arrows, "</g>", '<g class="how">', *counts, "</g>", "</svg>",
        "<figcaption>The rooms as they are, drawn from the imports. The line above a room runs right, through a dot for each later room that imports it. "
        "The thick arrows count the imports from band to band. None leads up.</figcaption>", "</figure>"])


def table() -> str:
    "Page, question and module, one line each"
    rows = [f"| {link} | {question} | {f'`{m}`' if m else ''} |" for m, link, question in pages()]
    return "\n".join(["| page | question | module |", "|---|---|---|", *rows, "", ": The rooms, in reading order: the story, the kit, the reports. Pages without a module use the library and add nothing to it. {#tbl-rooms}"])


def tests() -> str:
    "Test files and their first lines"
    lines = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).partition("\n")[0] for path in sorted((root / "tests").glob("test_*.py"))}
    return "\n".join(["| file | tests |", "|---|---|", *(f"| `{name}` | {line.rstrip('.')} |" for name, line in lines.items()), "", ": Files in `tests/`. {#tbl-tests}"])


def mutants() -> str:
    "What came of the mutants of each module"
    made = json.loads((library / "results/mutation.json").read_text(encoding="utf-8"))
    rows = [f"| `{name}` | {m['mutants']} | {m['tried']} | {m['killed']} | {m['killed'] / m['tried']:.0%} |" for name, m in made["modules"].items()]
    return "\n".join(["| module | mutants | tried | noticed | share |", "|---|--:|--:|--:|--:|", *rows, "",
        ": Mutants; `results/mutation.json` has the commit of each row. Which ones were tried was left to chance. {#tbl-mutants}"])


def contributing() -> str:
    "The text of nbs/contributing.md, with what lies between its marks as the code has it now"
    text = page.read_text(encoding="utf-8")
    for name, new in {"rooms": f"```{{=html}}\n{drawing()}\n```\n\n{table()}", "tests": tests(), "mutants": mutants()}.items():
        begin, end = f"<!-- {name}: written by tools/rooms.py -->", f"<!-- end of {name} -->"
        text = f"{text.partition(begin)[0]}{begin}\n\n{new}\n\n{end}{text.partition(end)[2]}"
    return text


if __name__ == "__main__":
    page.write_text(contributing(), encoding="utf-8")
