"""The page in a real browser, where one is installed: no complaints, switches work, meshes are drawn."""

import pytest

from tests.reporting.browser import Browser, BrowserError

DRAWN = "['drawn', 'unavailable'].includes(document.getElementById('viewer').dataset.state)"
PIXELS = """(() => {
  const canvas = document.querySelectorAll('#viewer canvas')[%d];
  const gl = canvas.getContext('webgl2');
  const pixels = new Uint8Array(4 * canvas.width * canvas.height);
  gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const sums = [0, 0, 0, 0];
  pixels.forEach((value, index) => { sums[index %% 4] += value; });
  return sums.map((sum) => sum / (canvas.width * canvas.height * 255));
})()"""


@pytest.fixture(scope="module")
def page(written, tmp_path_factory):
    try:
        browser = Browser(tmp_path_factory.mktemp("profile"))
    except BrowserError as error:
        pytest.skip(f"no browser: {error}")
    with browser:
        browser.ask("Page.navigate", url=(written / "report.html").as_uri())
        browser.wait_for("document.readyState === 'complete'")
        yield browser


@pytest.fixture
def viewer(page):
    page.value("document.getElementById('three').scrollIntoView()")
    page.wait_for(DRAWN)
    if page.value("document.getElementById('viewer').dataset.state") == "unavailable":
        assert "WebGL" in page.value("document.querySelector('[data-reason]').textContent")
        pytest.skip("this browser has no WebGL 2, and the page says so")
    return page


def choose(page, name, value):
    page.value(f"document.querySelector('input[name={name}][value={value}]').click()")
    page.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")


def shown_kinds(page):
    shown = "[...document.querySelectorAll('#gallery img[data-kind]')].filter((image) => image.offsetParent)"
    return set(page.value(f"{shown}.map((image) => image.dataset.kind)"))


def test_pictures_can_be_switched(page):
    assert shown_kinds(page) == {"shaded"}
    for kind in ("normals", "error", "missing", "shaded"):
        choose(page, "picture-kind", kind)
        assert shown_kinds(page) == {kind}
    count = "[...document.querySelectorAll('#gallery figure')].filter((figure) => figure.offsetParent).length"
    before = page.value(count)
    page.value("document.querySelector('input[name=picture-trims]').click()")
    # One of the two trims was hidden.
    assert page.value(count) == before + 1


def test_every_picture_can_be_decoded(page):
    page.value("for (const image of document.images) image.loading = 'eager'")
    decoded = "Promise.all([...document.images].map((image) => image.decode())).then((all) => all.length)"
    assert page.value(decoded) > 20


def test_page_can_be_light_and_dark(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    light = page.value(ground)
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = page.value(ground)
    page.value("document.querySelector('[data-theme-toggle]').click()")
    assert light != dark and page.value(ground) == light


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_page_is_as_wide_as_the_window(page, width):
    page.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    assert page.value("document.documentElement.scrollWidth") <= width
    page.ask("Emulation.clearDeviceMetricsOverride")


def test_meshes_are_drawn_and_follow_one_camera(viewer):
    left, right = viewer.value(PIXELS % 0), viewer.value(PIXELS % 1)
    assert 0.05 < left[3] < 0.9
    # On the left the mesh, on the right the reference, which is the same here: one camera shows the same.
    assert left == pytest.approx(right, abs=0.01)
    choose(viewer, "viewer-mode", "normals")
    normals = viewer.value(PIXELS % 0)
    assert normals[3] == pytest.approx(left[3]) and normals[:3] != pytest.approx(left[:3], abs=0.005)
    viewer.value(
        "document.querySelectorAll('#viewer canvas')[1].dispatchEvent(new KeyboardEvent('keydown', { key: '-' }))"
    )
    choose(viewer, "viewer-mode", "shaded")
    smaller, also = viewer.value(PIXELS % 0), viewer.value(PIXELS % 1)
    assert smaller[3] < 0.9 * left[3] and smaller == pytest.approx(also, abs=0.01)


def test_another_mesh_can_be_chosen(viewer):
    whole = viewer.value(PIXELS % 0)
    caption = viewer.value("document.querySelector('[data-faces]').textContent")
    select = "document.querySelector('#viewer select')"
    viewer.value(f"{select}.value = '2'; {select}.dispatchEvent(new Event('change'))")
    viewer.wait_for(f"document.querySelector('[data-faces]').textContent !== '{caption}'")
    choose(viewer, "viewer-mode", "shaded")
    assert viewer.value(PIXELS % 0) != pytest.approx(whole, abs=1e-4)


def test_nothing_is_fetched_and_nothing_complained_of(page, viewer):
    assert not page.complaints()
    addresses = [address for address in page.requests() if not address.startswith("data:image/")]
    assert {address.split(":")[0] for address in addresses} <= {"file", "about"}
    assert len([address for address in addresses if address.startswith("file:")]) == 1
