"Serve the website on this machine, and build it again whenever a page, the style or an option changes."
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ("nbs/[!.]*.ipynb", "nbs/*.md", "nbs/styles.css", "nbs/[!.]*/*", "cvae_tutorial/**/*.py", "CHANGELOG.md", "_quarto.yml",
           "settings.ini", "tools/build_site.py")


def sources() -> dict[Path, float]:
    "What the website is made of, and when each file was last changed"
    return {path: path.stat().st_mtime for pattern in SOURCES for path in ROOT.glob(pattern)}


def main(port: int):
    server = ThreadingHTTPServer(("localhost", port), partial(SimpleHTTPRequestHandler, directory=ROOT / "_docs"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    built = None
    while True:
        if (now := sources()) != built:
            built = now
            subprocess.run([sys.executable, ROOT / "tools/build_site.py"], cwd=ROOT)
            print(f"http://localhost:{server.server_port}/ (Ctrl-C stops; reload the page after a change)", flush=True)
        time.sleep(1)


if __name__ == "__main__":
    try: main(int(sys.argv[1]) if sys.argv[1:] else 8000)
    except KeyboardInterrupt: pass
