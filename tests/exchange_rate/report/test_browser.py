"""The page in headless Chromium, at the width of a phone and of a desk: no console error, no request to elsewhere, nothing beside the screen."""

import os
import re
import shutil
import subprocess

import pytest

from exchange_rate.report.write import write_points_report
from tests.exchange_rate.analysis.conftest import make_points

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)  # fmt: skip
PROBE = (
    "<script>addEventListener('load', () => { const page = document.documentElement; "
    "const over = [...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > page.clientWidth + 1 && !one.closest('.scroll')); "
    "parent.postMessage({beside: page.scrollWidth - page.clientWidth, width: page.clientWidth, over: over.length, "
    "loaded: performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length}, '*'); });</script>"
)
"""Put into a copy of the page, which has no script of its own: it tells the frame around it what it sees."""
FRAME = (
    "<!DOCTYPE html><html><body><script>addEventListener('message', event => Object.assign(document.body.dataset, event.data));</script>"
    '<iframe src="page.html" style="width: {width}px; height: 900px; border: 0"></iframe></body></html>'
)
"""A window of Chromium is never narrower than 500 pixels; a frame in it is."""


def seen(page: str, folder, width: int) -> tuple[dict[str, int], str]:
    """What a page of that width measures of itself, and what Chromium says of it."""
    (folder / "page.html").write_text(page.replace("</body>", f"{PROBE}</body>"))
    (folder / "frame.html").write_text(FRAME.format(width=width))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--virtual-time-budget=5000", "--dump-dom", (folder / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=os.environ | {"HOME": str(folder)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.findall(r'data-(beside|width|over|loaded)="(-?\d+)"', done.stdout)
    assert len(found) == 4, done.stdout[-500:]
    return {name: int(value) for name, value in found}, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_without_a_fault_at_the_width_of_a(planted_report, tmp_path, width):
    points = write_points_report(make_points(), tmp_path / "report")
    for name, report in (("study", planted_report), ("points", points)):
        (tmp_path / name).mkdir()
        page = report.page.read_text()
        assert "<script" not in page
        found, said = seen(page, tmp_path / name, width)
        assert found == {"beside": 0, "width": width, "over": 0, "loaded": 0}, name
        assert "CONSOLE" not in said, said


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_what_lies_beside_the_screen_is_seen(tmp_path):
    page = "<html><body><main><p style='width: 500px'>wide</p></main></body></html>"
    found, _ = seen(page, tmp_path, 390)
    assert found["beside"] > 0 and found["over"] == 1
