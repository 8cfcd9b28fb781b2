"What Quarto leaves undone on pages that nbdev named. Quarto runs this at the end of nbdev_docs (nbs/quarto.yml)."
import os
import re
import shutil
from pathlib import Path

from nbdev.config import get_config

cfg = get_config(path=Path(__file__).parent.parent)
home = f"{cfg.doc_host}{cfg.doc_baseurl}/"

# What Quarto leaves out for people without a mouse: the keyboard scrolls what is too wide
ACCESSIBLE = {
    '<div class="sourceCode': '<div tabindex="0" class="sourceCode',
    "<pre><code>": '<pre tabindex="0"><code>',
    '<table class="caption-top table': '<table tabindex="0" class="caption-top table',
    '<math display="block"': '<math tabindex="0" display="block"',
}


def finish(page: str) -> str:
    "Without the scripts of widgets, which Quarto loads for any HTML in an output; with links to names that work in any copy"
    page = re.sub(r"<script [^>]*cdn\.jsdelivr\.net/npm/(jquery|requirejs)@[^>]*></script>\s*", "", page)
    page = re.sub(r"<script [^>]*>define\('jquery'.*?</script>\s*", "", page)
    page = page.replace(f'<a href="{home}', '<a href="./')
    for old, new in ACCESSIBLE.items(): page = page.replace(old, new)
    return page


def main():
    docs = Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
    for page in docs.glob("*.html"): page.write_text(finish(page.read_text(encoding="utf-8")), encoding="utf-8")
    for text in docs.glob("*.llms.md"):  # Quarto names them after the notebook, and then does not find them
        text.rename(docs / re.sub(r"^\d+_", "", text.name))
    links = [f"- [{re.search(r'^# (.+)$', text.read_text(encoding='utf-8'), flags=re.M)[1]}]({home}{text.name})"
             for text in sorted(docs.glob("*.llms.md"))]
    (docs / "llms.txt").write_text("\n".join([f"# {cfg.title}\n\n> {cfg.description}\n\n## Pages\n", *links, ""]), encoding="utf-8")
    for notebook in cfg.nbs_path.glob("*.ipynb"): shutil.copy(notebook, docs)


if __name__ == "__main__" and os.environ.get("QUARTO_PROJECT_RENDER_ALL"): main()
