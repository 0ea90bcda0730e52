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
    "document.body.dataset.beside = page.scrollWidth - page.clientWidth; "
    "document.body.dataset.loaded = performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length; });</script>"
)
"""Put into a copy of the page, which has no script of its own: it writes down what it sees."""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_without_a_fault_at_the_width_of_a(tmp_path, width):
    report = write_points_report(make_points(), tmp_path / "report")
    page = report.page.read_text()
    assert "<script" not in page
    copy = tmp_path / "page.html"
    copy.write_text(page.replace("</body>", f"{PROBE}</body>"))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--virtual-time-budget=5000", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=os.environ | {"HOME": str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.search(r'data-beside="(-?\d+)" data-loaded="(\d+)"', done.stdout)
    assert found is not None, done.stdout[-500:]
    assert int(found[1]) <= 0 or width < 500, f"{found[1]} pixels beside the screen"
    assert int(found[2]) == 0, "the page asks for something elsewhere"
    assert "CONSOLE" not in done.stderr, done.stderr
