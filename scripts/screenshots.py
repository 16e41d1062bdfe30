"""Pictures of pages, to look at them: python scripts/screenshots.py FOLDER PAGE [PAGE ...].

Of each HTML page the whole of it on a screen and on a telephone, light and dark, and its first screenful. Needs
playwright and a Chromium on the PATH. docs/report.png is the first screenful of a Multi30k run with attention.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = {"screen": 1200, "telephone": 375}


def main(folder: Path, pages: list[Path]) -> None:
    """Take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for path in pages:
            for scheme in ("light", "dark"):
                for name, width in WIDTHS.items():
                    page = browser.new_page(viewport={"width": width, "height": 1250}, color_scheme=scheme)
                    page.goto(path.resolve().as_uri())
                    file = folder / f"{path.parent.name}-{path.stem}-{name}-{scheme}"
                    page.screenshot(path=f"{file}.png", full_page=True)
                    page.screenshot(path=f"{file}-top.png")
                    page.close()
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit((__doc__ or "").splitlines()[0])
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
