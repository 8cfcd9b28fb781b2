"Render the notebooks to a website in _docs, with nbdev and smalldocs: no Quarto, and no page asks another host for anything."
import ast
import html
import json
import re
import shutil
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

from math_core import LatexToMathML
from nbdev.config import get_config
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs

cfg = get_config()
to_mathml = LatexToMathML(fancy_error=False).convert_with_local_state

# What smalldocs leaves out for people without a mouse or without eyes
ACCESSIBLE = {
    "<pre": '<pre tabindex="0"',  # the keyboard scrolls what is too wide
    '<div class="sd-table"': '<div class="sd-table" tabindex="0"',
    '<math display="block"': '<math tabindex="0" display="block"',
    ' role="img"></i>': ' aria-hidden="true"></i>',  # icons in links that have a name
    '<nav class="navbar ': '<nav aria-label="Site" class="navbar ',
    '<nav class="quarto-secondary-nav"': '<nav aria-label="Page" class="quarto-secondary-nav"',
    '<div class="toc-actions"': '<div role="navigation" aria-label="Source" class="toc-actions"',
    '<nav id="TOC"': '<nav aria-label="On this page" id="TOC"',
    '<nav id="quarto-sidebar"': '<nav aria-label="Pages" id="quarto-sidebar"',
}


def rename(text: str) -> str:
    "Call `00_data.ipynb` `data.ipynb`, the page that nbdev's links to names lead to. Addresses such as Colab's stay."
    return re.sub(r"(?<![\w/])\d+_(\w+\.ipynb)", r"\1", text)


NOTEBOOKS = {rename(nb.name): nb.name for nb in cfg.nbs_path.glob("*.ipynb")}  # data.ipynb -> 00_data.ipynb


def source_last(page: str) -> str:
    "Where a cell exports several names, nbdev puts its source below the first signature: move it below the last."
    nb = json.loads(page)
    cells = nb["cells"]
    for i in range(len(cells) - 1):
        this, after = ("".join(cell["source"]) for cell in cells[i:i + 2])
        shown = re.search(r"\nshow_doc\((?:\w+\.)?(\w+)\)", after)
        if "Exported source" in this and shown and re.search(rf"(def|class) {shown[1]}\b", this):
            cells[i], cells[i + 1] = cells[i + 1], cells[i]
    return json.dumps(nb, ensure_ascii=False, indent=1)


@cache
def signatures(path: str) -> dict[tuple[str, int], str]:
    "The signature of each function and class of a module, by name and line, with its comments, as the file has it"
    text = (cfg.config_path / path).read_text(encoding="utf-8")
    lines, found = text.splitlines(), {}
    def head(node): return "\n".join(lines[node.lineno - 1:max(node.lineno, node.body[0].lineno - 1)])
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef): found[node.name, node.lineno] = textwrap.dedent(head(node))
        elif isinstance(node, ast.ClassDef) and not node.decorator_list:  # a dataclass shows its fields
            own = [head(n) for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
            found[node.name, node.lineno] = "\n".join([lines[node.lineno - 1], *own])
    return found


def as_written(page: str) -> str:
    "Signatures of functions as the source has them: nbdev's lose the stars of *args and what stands behind an argument list"
    nb = json.loads(page)
    def source(m):
        same = {line: s for (name, line), s in signatures(m[1]).items() if name == m[4] and line >= int(m[2])}
        return f"{m[0].partition('```')[0]}```python\n\n{same[min(same)]}\n\n```" if same else m[0]
    block = re.compile(r"\[source\]\(\S+/(cvae_tutorial/(?:\w+/)?\w+\.py)#L(\d+)\)(.*?)```python\s+def (\w+)\(.*?```", re.S)
    for cell in nb["cells"]:
        for output in cell.get("outputs", []):
            if (text := output.get("data", {}).get("text/markdown")) is not None:
                output["data"]["text/markdown"] = block.sub(source, "".join(text)).splitlines(keepends=True)
    return json.dumps(nb, ensure_ascii=False, indent=1)


def write_pages() -> Path:
    "Let nbdev write the notebooks as pages into _proc, and suit them to smalldocs."
    refresh_quarto_yml()
    proc = proc_nbs(n_workers=0, force=True)
    for path in [*proc.glob("*.ipynb"), *proc.glob("*.md")]:
        page = rename(path.read_text(encoding="utf-8"))
        if path.suffix == ".ipynb":
            page = as_written(source_last(page))
            page = re.sub(r'^ *"output-file: .*\n', "", page, flags=re.M)  # an option for Quarto alone
            page = page.replace(f"{cfg.doc_host}{cfg.doc_baseurl}/", "")  # links to names work in any copy of the site
        path.unlink()
        (proc / rename(path.name)).write_text(page, encoding="utf-8")
    options = rename((cfg.config_path / "_quarto.yml").read_text(encoding="utf-8"))
    (proc / "_quarto.yml").write_text(f"{options}\nmetadata-files: [nbdev.yml]\n", encoding="utf-8")
    return proc


def mathml(page: str) -> str:
    "Replace TeX by MathML, which browsers draw themselves, and drop the links to KaTeX."
    def convert(m): return to_mathml(html.unescape(m[2]), displaystyle=m[1] == "display")
    page = re.sub(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', convert, page, flags=re.S)
    return re.sub(r'<(?:link|script)\b[^>]*\bkatex\b[^>]*>(?:</script>)?', "", page)


def offer_notebook(page: str, name: str) -> str:
    "Lead the link to the source to the notebook under its own name, and add one that downloads it."
    notebook = NOTEBOOKS[name]
    page = page.replace(f'/nbs/{name}" class="toc-action"', f'/nbs/{notebook}" class="toc-action"')
    download = f'<a href="{notebook}" class="toc-action" download><i class="bi bi-download"></i> Download notebook</a>'
    return page.replace('<div class="toc-actions">', f'<div class="toc-actions"><div class="action-links">{download}</div>')


def finish(page: str, name: str) -> str:
    "What smalldocs does not do for a page: formulas, access without a mouse, the notebook, the address of the original."
    page = mathml(page)
    page = re.sub(r"\[`([^`]+)`\]\((\S+?)\)(?=[^<]*</span>)", r'<a href="\2">\1</a>', page)  # names in comments of signatures
    if (notebook := name.replace(".html", ".ipynb")) in NOTEBOOKS: page = offer_notebook(page, notebook)
    for old, new in ACCESSIBLE.items(): page = page.replace(old, new)
    page = re.sub(r'data-bs-target="(#quarto-sidebar-section-\d+)" role="navigation"', r'href="\1" role="button"', page)
    address = f"{cfg.doc_host}{cfg.doc_baseurl}/{name}".removesuffix("index.html")
    return page.replace("<title>", f'<link rel="canonical" href="{address}"><title>', 1)


def main():
    proc = write_pages()
    smalldocs = sys.executable, "-m", "smalldocs.cli"
    for step in ["check"], ["render", "--quiet"]:
        if subprocess.run([*smalldocs, *step, proc]).returncode: sys.exit("The website was not built.")
    site = proc / cfg.doc_path.name
    for page in site.glob("*.html"):
        page.write_text(finish(page.read_text(encoding="utf-8"), page.name), encoding="utf-8")
    for theme in site.glob("site_libs/themes/*.css"):  # themes fetch web fonts; the system's do as well
        theme.write_text(re.sub(r"@import url\([^)]*\);", "", theme.read_text(encoding="utf-8")), encoding="utf-8")
    texts = [*site.glob("*.html"), *site.glob("site_libs/*.js"), *site.glob("site_libs/*.css")]
    used = {icon for path in texts for icon in re.findall(r"\bbi-([\w-]+)", path.read_text(encoding="utf-8"))}
    icons = site / "site_libs/bootstrap-icons/bootstrap-icons.min.css"  # of two thousand, the few that are used
    icons.write_text(re.sub(r"\.bi-([\w-]+)::before\{content:[^}]*\}", lambda m: m[0] if m[1] in used else "", icons.read_text()))
    for notebook in NOTEBOOKS.values(): shutil.copy(cfg.nbs_path / notebook, site)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(site, cfg.doc_path)
    shutil.rmtree(proc)  # nbdev_docs would take these pages for its own, under two names
    print(f"Website: {cfg.doc_path / 'index.html'} (the live pictures need a server: make preview)")


if __name__ == "__main__":
    main()
