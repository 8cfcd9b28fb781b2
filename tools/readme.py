"Write README.md from nbs/index.ipynb: its prose and the Markdown that its cells print. Code stays in the notebook."
import json
import re
from pathlib import Path

from nbdev.config import get_config

root = Path(__file__).parent.parent


def readme() -> str:
    "The text of README.md, with paths that hold at the top of the repository"
    cells = json.loads((root / "nbs/index.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = [part for cell in cells for part in markdown(cell)]
    text = "\n\n".join(part.strip() for part in parts if part.strip())
    cfg = get_config(path=root)
    text = text.replace("](short.ipynb)", f"]({cfg.doc_host}{cfg.doc_baseurl}/short.html)")  # its pictures are HTML, which GitHub does not draw
    text = re.sub(r"\]\((?=images/|\w+\.(ipynb|md)\b)", "](nbs/", text)  # links to pictures and pages
    text = re.sub(r'!\[(.*?)\]\((.*?)\)\{.*?fig-alt="(.*?)"\}', r"![\3](\2)\n\n*\1*", text)  # captions of pictures
    text = re.sub(r"^: (.*?) *\{#tbl-.*\}$", r"*\1*", text, flags=re.M)  # captions of tables
    return f"<!-- Written by tools/readme.py from nbs/index.ipynb: edit that. -->\n\n{text}\n"


def markdown(cell: dict) -> list[str]:
    "What a cell adds to README.md"
    source = "".join(cell["source"])
    if "```{=html}" in source: return []  # what runs on the website alone
    if cell["cell_type"] == "markdown": return [source]
    if cell["cell_type"] != "code" or re.search(r"^#\| *hide$", source, flags=re.M): return []
    return ["".join(out["data"]["text/markdown"]) for out in cell["outputs"] if "text/markdown" in out.get("data", {})]


if __name__ == "__main__":
    (root / "README.md").write_text(readme(), encoding="utf-8")
