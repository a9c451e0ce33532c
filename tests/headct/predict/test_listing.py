"""`index.html` and `summary.csv` of ten thousand cases: looked at in a browser, as far as there is one."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from headct.predict.output.index_page import index_page
from headct.predict.output.storage import write_summary
from headct.predict.results import Case, Failure, Midline, Model

CASES = 10_000
BAD = "<img src=x onerror=alert(1)></script><script>alert(1)</script>"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def case(number: int) -> Case:
    """Every third without a finding; case n has n mL else."""
    found = number % 3 != 0
    return Case(
        name=f"case_{number}", kind="nifti", verdict="Hemorrhage found" if found else "No hemorrhage found",
        hemorrhage=found, volume_ml=float(number) if found else 0.0, abc_half_ml=0.0, lesions=[],
        small_lesions=0, small_ml=0.0, min_ml=0.1, midline=Midline(), consensus="", scan={},
        models=[Model("bright", "1.2", "", [], [], 0.0, {}, "", "", "", [])],
        warnings=[BAD] if number == 7 else [],
        files={"html": "report.html", "png": "report.png", "json": "report.json"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of ten thousand cases, without their pictures, and one that failed."""
    out = tmp_path_factory.mktemp("out")
    for number in range(CASES):
        one = case(number)
        (out / one.name).mkdir()
        (out / one.name / "report.json").write_text(one.as_json())
    write_summary(out, [Failure("broken & <b>", BAD)])
    return out


def shown(page: Path, query: str) -> tuple[list[str], str, str]:
    """Names of the rows that a browser shows, what it says of their number, and the whole page."""
    if CHROMIUM is None:
        pytest.skip("no chromium to open the page in")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"{page.as_uri()}#{query}",
    ]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    rows = text[text.index('<div id="rows">') : text.index("</main>")]
    names = re.findall(r"<b>(.*?)</b>|<h2>([^<]*): failed</h2>", rows)
    count = re.search(r"<output[^>]*>(.*?)</output>", text)
    assert count
    return [html.unescape(a or b) for a, b in names], count[1], text


def test_the_table_and_the_page_hold_every_case(folder):
    with (folder / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == CASES + 1
    assert {row["case"] for row in rows} == {*(f"case_{n}" for n in range(CASES)), "broken & <b>"}
    page = (folder / "index.html").read_text()
    assert len(page) < 3e6
    (data,) = re.findall(r'<script type="application/json" id="cases">(.*?)</script>', page)
    assert len(json.loads(data)["rows"]) == CASES + 1
    assert page.count("<a class=") == 49  # the first page, also without a script
    assert BAD not in page
    assert "10000 cases, 6666 with hemorrhage found, 1 failed" in page


def test_a_browser_pages_sorts_and_filters(folder):
    page = folder / "index.html"
    names, count, text = shown(page, "")
    assert count == "1 to 50 of 10001"
    assert names[:3] == ["broken & <b>", "case_9998", "case_9997"]
    assert "onerror=" not in re.sub(r"<script.*?</script>|&lt;.*?&gt;", "", text, flags=re.DOTALL)
    names, count, _ = shown(page, "sort=name&page=3&verdict=found")
    assert count == "101 to 150 of 6666"
    assert names[0] == "case_151"  # the 101st of 1, 2, 4, 5, 7 ...
    names, count, _ = shown(page, "from=10&to=20.5&sort=least")
    assert names == [f"case_{n}" for n in (10, 11, 13, 14, 16, 17, 19, 20)]
    assert count == "1 to 8 of 8"
    names, count, _ = shown(page, "verdict=failed")
    assert (names, count) == (["broken & <b>"], "1 to 1 of 1")
    names, count, _ = shown(page, "name=CASE_99&verdict=none&page=900")
    assert set(names) == {f"case_{n}" for n in (99, *range(990, 1000), *range(9900, 10000)) if n % 3 == 0}


def test_a_short_list_has_no_script():
    page = index_page([case(number) for number in range(40)], [])
    assert "<script" not in page
    assert page.count("<a class=") == 40


def test_ten_thousand_cases_take_seconds():
    cases = [case(number) for number in range(CASES)]
    start = time.process_time()
    index_page(cases, [])
    assert time.process_time() - start < 5
