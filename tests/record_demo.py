"""Records the demo as an animated picture: `python -m tests.record_demo docs/demo.webp`.

It serves the demo, disturbs it in Chromium as a person would, and puts the screenshots together.
"""

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.cli import commands
from tests.conftest import require

SIZE = {"width": 1280, "height": 760}
SHOWN = (920, 546)
PAUSE = 0.2
"""Seconds between two pictures, at least."""
SCENES = ((2.8, "cut"), (3.6, "second"), (2.2, "reload"), (2.4, ""))
"""Seconds of each scene, and the button that ends it."""
QUALITY = 40


def record(page: Page) -> Iterator[tuple[float, bytes]]:
    """Yield pictures and when they were taken, while the scenes go on."""
    for seconds, button in SCENES:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            yield now, page.screenshot()
            time.sleep(max(PAUSE - (time.monotonic() - now), 0))
        if button:
            page.locator(f"#{button}").click()
            page.mouse.move(0, 0)


def main(target: Path) -> None:
    """Write the picture."""
    with (
        tempfile.TemporaryDirectory() as directory,
        commands.serving(
            "demo", directory=Path(directory), environment={"OPENAI_BASE_URL": ""}
        ) as running,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=require("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(running.url)
        page.locator("#answer span").wait_for()
        shots = list(record(page))
        browser.close()
    frames = [
        Image.open(io.BytesIO(data)).convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS)
        for _, data in shots
    ]
    times = [at for at, _ in shots]
    lengths = [round((after - at) * 1000) for at, after in pairwise(times)]
    options = {"save_all": True, "append_images": frames[1:], "loop": 0}
    options |= {"quality": QUALITY, "method": 4, "kmin": 100, "kmax": 1000}  # one key frame
    frames[0].save(target, **options, duration=[*lengths, 2500])
    print(f"{target}: {len(frames)} pictures, {target.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/demo.webp"))
