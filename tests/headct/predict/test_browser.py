"""Reports in a real browser: what a reader sees, presses and prints, and what may not happen."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headct.predict import predict
from headct.predict.output.index_page import index_page
from headct.predict.output.page import report_page
from headct.predict.output.view import Layer, Overlay, View, encode_hu
from headct.predict.results import Case, Failure, Lesion, Midline, Model, Prior
from tests.headct.predict.browser import Browser, pages_of

EVIL = '<img src=x onerror="document.title=\'owned\'"></script><script>document.title="owned"</script>'
RED, BLUE = (255, 77, 77), (54, 197, 240)


def make_case(**changes) -> Case:
    """A case with two lesions of two types."""
    lesions = [
        Lesion(1, 20.0, 18.0, 40.0, 65.0, [30, 20, 10], "right", 2.0, [3, 5], "epidural"),
        Lesion(2, 2.0, 1.8, 20.0, 60.0, [-30, -20, 0], "left", 9.0, [7, 7], "subdural"),
    ]
    model = Model(
        "bright", "1.0", "A network", ["model.pt"], ["ab" * 32], 22.0, {"epidural": 20.0, "subdural": 2.0},
        "blood", "heads", "research", ["a paper"],
    )  # fmt: skip
    case = Case(
        "a head", "nifti", "Hemorrhage found: 22.0 mL, 2 lesions", True, 22.0, 19.8, lesions, 0, 0.0, 0.1,
        Midline(3.0, "left"), [model], "", ["thick slices"], {"voxels": "many"},
        {"html": "report.html", "png": "report.png"}, classes={1: "epidural", 2: "subdural"},
    )  # fmt: skip
    return replace(case, **changes)


def make_scan() -> View:
    """9 slices of 6 mm with 60 x 40 pixels of 2 mm: bright at the patient's right and dark at the front.

    Each slice is 5 HU brighter than the one below.
    """
    hu = np.zeros((9, 60, 40)) + 5 * np.arange(9)[:, None, None]
    hu[:, :, :6] = 1000
    hu[:, :8, 6:] = -1000
    masks = np.zeros((2, 9, 60, 40), bool)
    masks[0, 2:5, 20:40, 10:18] = True
    masks[1, 6, 40:44, 30:34] = True
    layers = [Layer("epidural", "#ff4d4d", masks[0]), Layer("subdural", "#36c5f0", masks[1])]
    chance = np.zeros((9, 60, 40), np.uint8)
    chance[:, 10:50, 20:30] = 15
    return View(
        encode_hu(hu), 2.0, 6.0, 1, 9, layers, [Overlay("probability", "#00ff00", chance)],
        [float(a) for a in masks.sum((0, 2, 3)) * 0.04], (3, 30, 14), [(3, 30, 14), (6, 42, 32)],
    )  # fmt: skip


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60)).save(buffer, format="PNG")
    return buffer.getvalue()


def write(folder: Path, case: Case, view: View | None = None) -> Path:
    path = folder / "report.html"
    path.write_text(report_page(case, view or make_scan(), picture()))
    return path


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """The report of `make_case` and `make_scan`, drawn."""
    browser.requests(), browser.complaints()
    browser.open(write(tmp_path, make_case()))
    return browser


def place(page: Browser) -> tuple[int, ...]:
    """Numbers of the slices that are shown."""
    return tuple(
        int(page.run("return document.getElementById(arguments[0]).value", f"{name}-slider"))
        for name in ("axial", "coronal", "sagittal")
    )


def test_slices_by_slider_and_keys(page):
    assert place(page) == (4, 31, 15)
    page.run("document.getElementById('axial').focus()")
    for key, number in (("ArrowUp", 5), ("ArrowRight", 6), ("ArrowDown", 5), ("Home", 1), ("ArrowLeft", 1)):
        page.press(key)
        assert place(page)[0] == number
    page.press("End")
    assert place(page)[0] == 9
    assert page.run("return document.getElementById('axial-where').textContent") == "slice 9 of 9"
    page.run("document.getElementById('coronal-slider').focus()")
    page.press("ArrowRight")  # the browser's own
    assert place(page) == (9, 32, 15)
    page.run("document.activeElement.blur()")
    page.press("ArrowDown")  # nothing has the focus: the axial slices
    assert place(page)[0] == 8
    before = page.pixels("axial")[32][40]
    page.press("ArrowDown")
    assert np.mean(page.pixels("axial")[32][40]) == pytest.approx(np.mean(before) - 5 * 255 / 80, abs=2)


def test_views_lie_as_radiologists_have_them(page):
    """Bright on the patient's right, dark in front; slices get brighter upwards."""
    page.run("document.querySelectorAll('[data-layer]').forEach((box) => box.click())")
    page.drawn()
    axial, coronal, sagittal = (np.array(page.pixels(n))[..., 0] for n in ("axial", "coronal", "sagittal"))
    assert axial[30, 3] > 240 > axial[30, 40]  # R is left
    assert axial[3, 40] < 5 < axial[50, 40]  # A is up
    assert coronal[32, 3] > 240
    assert coronal[5, 40] > coronal[32, 40] > coronal[58, 40]  # S is up
    assert sagittal[32, 3] < 5 < sagittal[32, 40]  # A is left
    assert sagittal[5, 40] > sagittal[58, 40]
    letters = "return [...document.querySelectorAll('figure')].map((f) => [...f.querySelectorAll('.mark')]"
    marks = page.run(letters + ".map((m) => m.classList[1] + m.textContent).join(' '))")
    assert marks == ["leftR rightL topA bottomP", "leftR rightL topS bottomI", "leftA rightP topS bottomI"]
    ratio = "const c = document.getElementById(arguments[0]);"
    ratio += "return [c.clientWidth / c.clientHeight, c.width / c.height]"
    for name, wide, high in (("axial", 80, 120), ("coronal", 80, 54), ("sagittal", 120, 54)):  # mm
        assert page.run(ratio, name) == pytest.approx([wide / high] * 2, rel=0.02)


def test_windows(page):
    """A pixel of 15 HU: its grey in each window by level and width."""
    names = page.run("return [...document.querySelectorAll('.windows label')].map((l) => l.textContent)")
    assert names == ["brain", "subdural", "stroke", "bone"]
    for key, (level, width) in zip("1234", ((40, 80), (75, 200), (40, 40), (600, 2800)), strict=True):
        page.press(key)
        grey = np.clip((15 - level + width / 2) / width, 0, 1) * 255
        assert page.pixels("axial")[60][50][0] == pytest.approx(grey, abs=3)


def test_outlines_and_overlays_go_and_come(page):
    assert page.found("axial", RED)[0] > 20
    assert page.found("axial", BLUE)[0] == 0  # on another slice
    page.run("document.querySelectorAll('tr[data-at]')[1].click()")
    page.drawn()
    assert place(page) == (7, 43, 33)
    assert page.found("axial", BLUE)[0] > 5
    assert page.found("sagittal", BLUE)[0] > 1
    legend = page.run(
        "return [...document.querySelectorAll('.layers label')].map((l) => l.textContent.trim())"
    )
    assert legend == ["epidural 20.0 mL", "subdural 2.0 mL", "probability"]
    page.run("document.querySelector('[data-layer=\"1\"]').click()")
    page.drawn()
    assert page.found("axial", BLUE)[0] == 0
    page.press("o")
    page.press("o")
    assert page.found("axial", BLUE)[0] > 5
    assert page.found("axial", (0, 190, 0))[0] == 0
    page.run("document.querySelector('[data-overlay]').click()")
    page.drawn()
    assert page.found("axial", (20, 200, 20))[0] > 300


def test_a_tap_moves_the_other_views(page):
    page.run(
        "const c = document.getElementById('coronal'), b = c.getBoundingClientRect();"
        "c.dispatchEvent(new MouseEvent('click', {clientX: b.left + b.width * 0.76, clientY: b.top + 2}))"
    )
    page.drawn()
    assert place(page) == (9, 31, 31)


@pytest.mark.parametrize("width", [360, 1280])
def test_fits_the_screen(page, width):
    """No part is wider than a phone; dark where the reader's system is."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": width < 500}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.drawn()
        assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.run("return document.getElementById('axial').clientWidth") > 200
        light = page.run("return getComputedStyle(document.body).backgroundColor")
        dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
        assert page.run("return getComputedStyle(document.body).backgroundColor") != light
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("full", [False, True])
def test_prints_on_one_page(browser, tmp_path, full):
    case = make_case()
    if full:
        doubts = ["The two may not be compared."] * 3
        case = replace(
            case,
            lesions=[replace(case.lesions[0], number=n) for n in range(1, 41)],
            warnings=["A long warning about the scan, and what it may mean for the result. " * 3] * 20,
            models=[replace(case.models[0], bundle=f"model{n}", trained_on="heads " * 90) for n in range(4)],
            scan={f"fact {n}": "value " * 40 for n in range(12)},
            prior=Prior("earlier", "", 10.0, 1, 12.0, 120.0, {"a": (5, 10), "b": (5, 12)}, doubts),
        )
    view = make_scan()
    view.places = [view.places[0]] * len(case.lesions)
    browser.open(write(tmp_path, case, view))
    pdf = browser.pdf()
    assert pages_of(pdf) == 1
    width, height = map(float, re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf).groups())
    assert (width, height) == pytest.approx((595, 842), abs=1.5)  # A4


def test_nothing_leaves_the_page(page):
    page.press("2")
    page.run("document.querySelectorAll('input[type=checkbox]').forEach((box) => box.click())")
    page.drawn()
    (own,) = page.requests()
    assert own.startswith("file://")
    assert page.complaints() == []
    refused = page.driver.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), () => done('no'))"
    )
    assert refused == "no"
    assert "Content Security Policy" in " ".join(page.complaints())
    assert page.requests() == []


def test_names_and_headers_are_text(browser, tmp_path):
    """Wherever a file, a header, a bundle's card or an earlier report says something."""
    case = make_case()
    lesions = [replace(lesion, kind=EVIL, side=EVIL) for lesion in case.lesions]
    model = replace(
        case.models[0], bundle=EVIL, version=EVIL, title=EVIL, weights=[EVIL], class_volumes_ml={EVIL: 1.0},
        segments=EVIL, trained_on=EVIL, intended_use=EVIL, references=[EVIL],
    )  # fmt: skip
    case = replace(
        case, name=EVIL, verdict=EVIL, lesions=lesions, models=[model, model], warnings=[EVIL],
        scan={EVIL: EVIL}, identifiers={EVIL: EVIL}, midline=Midline(reason=EVIL), consensus=EVIL,
        prior=Prior(EVIL, EVIL, 1.0, 1, 1.0, 1.0, {EVIL: (1, 2), "b": (1, 1)}, [EVIL]),
        files={"html": "report.html", "png": EVIL},
    )  # fmt: skip
    view = make_scan()
    view.layers = [replace(layer, name=EVIL) for layer in view.layers]
    view.overlays = [replace(overlay, name=EVIL) for overlay in view.overlays]
    (tmp_path / "index.html").write_text(index_page([case], [Failure(EVIL, EVIL)]))
    own = {"report.html": {"still"}, "index.html": set()}
    for path, ready in ((write(tmp_path, case, view), True), (tmp_path / "index.html", False)):
        browser.open(path, ready)
        assert "owned" not in browser.driver.title.replace(EVIL, "")
        pictures = browser.run(
            "return [...document.images].map((i) => i.id || i.closest('a')?.className || '?')"
        )
        assert set(pictures) <= own[path.name] | {"row found"}
        assert EVIL in browser.run("return document.body.textContent")
        scripts = browser.run("return document.scripts.length")
        assert scripts == (2 if ready else 0)
    inserted = "document.body.insertAdjacentHTML('beforeend', arguments[0]); return 1"
    browser.run(inserted, EVIL)  # were one tag forgotten: the page's policy still runs nothing of it
    browser.drawn()
    assert browser.driver.title != "owned"


def test_from_the_index_to_a_report(bright, head, browser, tmp_path, support):
    """Of a real run, with a name that is none for HTML."""
    scan = support.save_nifti(tmp_path / "in" / "a & b #1 50%.nii.gz", head())
    result = predict(scan.parent, bright, tmp_path / "out", uncertainty=False, save_probabilities=True)
    browser.requests(), browser.complaints()
    browser.open(result.out / "index.html", ready=False)
    browser.wait("return document.images.length && [...document.images].every((i) => i.complete)")
    assert browser.run("return [...document.images].every((i) => i.naturalWidth > 300)")
    browser.run("document.querySelector('a.row').click()")
    browser.wait("return document.documentElement.dataset.ready === 'yes'")
    case = result.cases[0]
    assert browser.run("return document.querySelector('h1').textContent") == case.verdict
    count, first, last = browser.found("axial", RED)
    assert count > 50
    assert 0.1 < first < last < 0.5  # the ball is on the right, which is shown at the left
    assert all(url.startswith("file://") for url in browser.requests())
    assert browser.complaints() == []


def test_the_3d_page_draws_what_it_holds(bright, head, browser, tmp_path, support):
    """NiiVue, in whose label map is what was found; no request but to the page itself."""
    scan = support.save_nifti(tmp_path / "head.nii.gz", head())
    case = predict(scan, bright, tmp_path / "out", uncertainty=False, viewer=True).cases[0]
    browser.requests(), browser.complaints()
    browser.open(case.path("html"))
    browser.run("document.querySelector('a[href=\"viewer.html\"]').click()")
    browser.wait("return document.getElementById('gl') && document.documentElement.dataset.ready")
    if browser.run("return document.documentElement.dataset.ready") == "no":
        pytest.skip("this chromium has no WebGL 2")
    browser.run("document.querySelector('[data-window=\"0.0 80.0\"]').click()")
    shot = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    pixels = np.asarray(shot).astype(int)
    tinted = (pixels[..., 0] - pixels[..., 1] > 40) & (pixels[..., 0] - pixels[..., 2] > 40)
    assert tinted.sum() > 200  # the finding, in red
    assert ((pixels > 60).all(-1) & (pixels < 190).all(-1)).mean() > 0.02  # brain
    assert all(url.startswith("file://") for url in browser.requests())
    assert not [line for line in browser.complaints() if "Content Security" in line]
