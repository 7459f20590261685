"""The page in a real browser: clicks, keys, the numbers that stand there, and how fast it is."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.view.choose import choose
from unfold.view.gather import gather
from unfold.view.page import page

EXAMPLES = Path(__file__).parents[2] / "examples"
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1400,1000",
)  # fmt: skip


def program(*names: str) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    binary, driver = program("chromium", "chromium-browser", "google-chrome"), "chromedriver"
    if binary is None or program(driver) is None:
        pytest.skip("there is no Chromium with its driver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(program(driver)))
    yield found
    found.quit()


class Page:
    """A page in the browser, and the data in it."""

    def __init__(self, browser: Any, path: Path, data: dict[str, Any]) -> None:
        self.browser, self.path, self.data = browser, path, data

    def open(self, frame: str = "") -> Page:
        self.browser.get("about:blank")
        self.browser.get_log("browser")
        self.browser.get(f"{self.path.as_uri()}#{frame}")
        return self

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    def one(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def key(self, *keys: str) -> None:
        body = self.one("body")
        for key in keys:
            body.send_keys(key)

    @property
    def frame(self) -> tuple[str, int]:
        at = self.run("return [document.body.dataset.phase, document.body.dataset.k]")
        return at[0], int(at[1])

    def boxes(self, state: str) -> set[str]:
        """The names in boxes of a state, `now` or `done`."""
        return {
            e.get_attribute("textContent") for e in self.all(f"#graph .box.{state} .label")
        }  # fmt: skip

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]


def written(
    name: str, folder: Path, browser: Any, prompt: str | None = None, **chosen: Any
) -> Page:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    data = gather(model, choose(model.program, **chosen), prompt)
    path = folder / f"{name}.html"
    path.write_text(page(data), encoding="utf-8")
    return Page(browser, path, data)


@pytest.fixture(scope="module")
def elman(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return written("elman", tmp_path_factory.mktemp("elman"), browser)


@pytest.fixture(scope="module")
def charlm(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Page:
    model = unfold.load(EXAMPLES / "charlm.rec")
    params = unfold.compile(model, K=4, M=3, H=5, backend="numpy").init(seed=2)
    trained = unfold.Params(params, {"vocabulary": list("abc ")})
    folder = tmp_path_factory.mktemp("charlm")
    return written("charlm", folder, browser, "ab", params=trained, steps=3)


@pytest.fixture(scope="module")
def long_lstm(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Page:
    sizes = {"D": 8, "H": 64, "K": 3}
    return written("lstm", tmp_path_factory.mktemp("lstm"), browser, sizes=sizes, steps=200)


def shown(x: float) -> str:
    """A number as the page writes it, where it takes no power of ten."""
    assert 1e-3 <= abs(x) < 1e5
    return f"{x:.4g}".replace("-", "−")


# --- what is shown ----------------------------------------------------------------------------


def test_the_loop_is_named_and_its_lines_say_the_distance(elman: Page) -> None:
    elman.open()
    assert elman.frame == ("loop", 0)
    labels = {e.text for e in elman.all("#graph .box .label")}
    assert {"x[t]", "h[t]", "y[t]", "loss", "h_bar[t]"} <= labels
    assert {e.text for e in elman.all("#graph text.distance")} == {"t−1", "t+1"}
    assert elman.complaints() == []


def test_the_loop_unrolls_step_by_step_into_the_chain(elman: Page) -> None:
    elman.open()
    for k in range(1, 8):
        elman.key("\ue014")
        assert elman.frame == ("unroll", k)
        names = {e.get_attribute("textContent") for e in elman.all("#graph .box .label")}
        assert {f"h[{t}]" for t in range(k)} <= names
        assert f"h[{k}]" not in names
        assert ("h[t]" in names) == (k < 7)
        # The same parameters are lit at every step but the boundary's.
        lit = {e.get_attribute("textContent") for e in elman.all("#graph .chip.now text")}
        assert lit == ({"h0"} if k == 1 else {"W_xh", "W_hh", "b_h", "W_hy", "b_y"})
    assert elman.text("#summary").startswith("7 of 7 steps unrolled")
    assert elman.complaints() == []


def test_numbers_on_the_way_forward_are_those_of_the_run(elman: Page) -> None:
    elman.open("forward-4")
    assert elman.boxes("now") == {"x[4]", "h[4]", "y[4]", "c[4]"}
    assert elman.boxes("done") >= {"h[0]", "h[1]", "h[2]", "h[3]", "h[4]"}
    assert "h[5]" not in elman.boxes("done")
    assert elman.text("#stored") == f"{elman.data['stored']['forward'][4]} B"
    elman.key("\ue010")
    assert elman.text("#detail") == ""
    entry = next(h for h in elman.data["heat"] if h["name"] == "h")
    values = np.frombuffer(base64.b64decode(entry["data"]), "<f4").reshape(4, 7)
    elman.run("document.querySelector('.heat details').open = true")
    elman.open("forward-4")
    elman.run("document.querySelector('.heat details').open = true")
    elman.browser.implicitly_wait(2)
    elman.one(".heat tr:nth-child(5)")
    elman.browser.implicitly_wait(0)
    cells = [e.get_attribute("textContent") for e in elman.all(".heat table td")]
    assert elman.text(".heat caption") == "h at t = 4"
    for cell, value in zip(cells, values[:, 4], strict=True):
        assert float(cell.replace("−", "-")) == pytest.approx(float(value), rel=1e-4)


def test_gradients_on_the_way_back_are_those_of_the_run(elman: Page) -> None:
    for k in (2, 6):
        elman.open(f"backward-{k}")
        for g in elman.data["gradients"]:
            cell = elman.text(f"[data-gradient='{g['name']}']")
            want = g["partial"][k]
            assert cell == ("0" if want == 0 else shown(want))
        (c,) = (c for c in elman.data["costates"] if c["name"] == "h")
        t = 6 - k
        assert elman.text("[data-costate='h']") == f"{shown(c['norms'][t])} at {t}"
        assert f"h_bar[{t}]" in elman.boxes("now")
    assert elman.text("[data-gradient='W_hh']") == shown(elman.data["gradients"][1]["norm"])
    assert elman.complaints() == []


def test_pointing_at_an_equation_lights_its_boxes_and_the_other_way_round(elman: Page) -> None:
    from selenium.webdriver import ActionChains

    elman.open("forward-6")
    equation = next(e for e in elman.all(".equation") if e.text.startswith("y[t] ="))
    ActionChains(elman.browser).move_to_element(equation).perform()
    assert elman.boxes("lit") == {f"y[{t}]" for t in range(1, 7)}
    box = next(e for e in elman.all("#graph .box") if e.text.startswith("h[2]"))
    ActionChains(elman.browser).move_to_element(box).perform()
    lit = [e.text for e in elman.all(".equation.lit")]
    assert [e.split(" = ")[0] for e in lit] == ["h[0]", "h[t]"]
    assert elman.text("#detail").startswith("h[2] = [")
    chip = next(e for e in elman.all("#graph .chip") if e.text == "W_hh")
    ActionChains(elman.browser).move_to_element(chip).click().perform()
    assert {f"h[{t}]" for t in range(1, 7)} <= elman.boxes("lit")
    assert "Used at 6 steps" in elman.text("#detail")
    # What is clicked stays, until Escape.
    ActionChains(elman.browser).move_to_element(elman.one("h1")).perform()
    assert "h[1]" in elman.boxes("lit")
    elman.key("\ue00c")
    assert elman.boxes("lit") == set()
    assert elman.complaints() == []


# --- controls ---------------------------------------------------------------------------------


def test_keys_and_buttons_move_through_the_story(elman: Page) -> None:
    elman.open()
    last = len(elman.run("return [...Array(Number(document.getElementById('scrub').max))]"))
    elman.key("\ue010")
    assert elman.frame == ("backward", 6)
    assert int(elman.run("return document.getElementById('scrub').value")) == last
    elman.key("\ue012")
    assert elman.frame == ("backward", 5)
    elman.key("\ue013")
    assert elman.frame == ("forward", 0)
    elman.key("\ue015")
    assert elman.frame == ("backward", 0)
    elman.key("\ue011")
    assert elman.frame == ("loop", 0)
    elman.one("#next").click()
    assert elman.frame == ("unroll", 1)
    elman.one("button[data-phase=forward]").click()
    assert elman.frame == ("forward", 0)
    assert elman.one("button[data-phase=forward]").get_attribute("aria-current") == "step"
    assert not elman.one("button[data-phase=sample]").is_enabled()
    elman.run(
        "const s = document.getElementById('scrub'); s.value = 17;"
        "s.dispatchEvent(new Event('input'));"
    )
    elman.browser.execute_async_script("requestAnimationFrame(() => arguments[0]())")
    elman.browser.execute_async_script("requestAnimationFrame(() => arguments[0]())")
    assert elman.frame == ("backward", 2)
    elman.key("?")
    assert elman.one("dialog").is_displayed()
    elman.one("dialog button").click()
    assert not elman.one("dialog").is_displayed()
    assert elman.complaints() == []


def test_space_plays_and_pauses(elman: Page) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    elman.open()
    elman.run("document.getElementById('speed').value = '8'")
    elman.key(" ")
    assert elman.one("#play").get_attribute("aria-label") == "Pause"
    WebDriverWait(elman.browser, 10, 0.02).until(lambda _: elman.frame[0] == "unroll")
    elman.key(" ")
    assert elman.one("#play").get_attribute("aria-label") == "Play"
    here = elman.frame
    elman.browser.execute_async_script("setTimeout(arguments[0], 400)")
    assert elman.frame == here


def test_both_themes_by_the_system_and_by_the_button(elman: Page) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    elman.open("backward-3")
    light = elman.run(colour)
    feature = [{"name": "prefers-color-scheme", "value": "dark"}]
    elman.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    dark = elman.run(colour)
    assert sum(map(int, dark[4:-1].split(","))) < 150 < 600 < sum(map(int, light[4:-1].split(",")))
    elman.one("#theme").click()
    assert elman.run(colour) == light
    elman.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    elman.one("#theme").click()
    assert elman.run(colour) == dark
    assert elman.complaints() == []


def test_nothing_moves_by_itself_where_less_motion_is_asked_for(elman: Page) -> None:
    feature = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    elman.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    elman.open("unroll-1")
    where = "return document.querySelector('#graph .box.variable').getAttribute('transform')"
    elman.run("document.getElementById('next').click()")
    first = elman.run(where)
    elman.browser.execute_async_script("setTimeout(arguments[0], 100)")
    assert elman.run(where) == first
    elman.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


# --- samples ----------------------------------------------------------------------------------


def test_tokens_are_drawn_one_by_one_and_fed_back(charlm: Page) -> None:
    found = charlm.data["sample"]
    words = [found["vocabulary"][k] for k in found["tokens"]]
    charlm.open("sample-2")
    assert (charlm.text(".given"), charlm.text(".drawn")) == ("ab", "")
    for k in (3, 4):
        charlm.key("\ue014")
        assert charlm.text(".drawn") == "".join(words[2:k])
    odds = [e.text.replace("−", "-") for e in charlm.all(".odds td.mono")]
    assert [float(x) for x in odds] == [pytest.approx(p, rel=5e-3) for _, p in found["rows"][4]]
    taken = charlm.text(".odds .taken th")
    assert taken == {" ": "␣"}.get(words[4], words[4])
    assert charlm.complaints() == []


# --- all of it --------------------------------------------------------------------------------


def test_who_listens_finds_landmarks_names_and_tables(elman: Page) -> None:
    elman.open("backward-2")
    assert [len(elman.all(tag)) for tag in ("h1", "main", "header")] == [1, 1, 1]
    assert elman.run("return document.documentElement.lang") == "en"
    named = 0
    for e in elman.all("button, select, input, canvas, svg[role=img], section"):
        if e.is_displayed():
            assert e.accessible_name, e.get_attribute("outerHTML")
            named += 1
    assert named > 30
    status = elman.one("#summary")
    assert (status.aria_role, status.get_attribute("aria-live")) == ("status", "polite")
    # From the skip link to the controls by the keyboard alone.
    elman.one("body").send_keys("\ue004")
    assert elman.run("return document.activeElement.className") == "skip"
    heads = [e.get_attribute("textContent") for e in elman.all("th[scope=row]")]
    assert {g["name"] for g in elman.data["gradients"]} <= set(heads)


def test_a_heat_map_is_read_with_the_arrow_keys(elman: Page) -> None:
    elman.open("forward-3")
    canvas = elman.one(".heat canvas")
    elman.run("arguments[0].focus()", canvas)
    canvas.send_keys("\ue015")
    assert elman.text(".readout").startswith("h[3], component 1: ")
    canvas.send_keys("\ue014")
    assert elman.text(".readout") == "h[4], component 1: not computed yet"
    assert elman.frame == ("forward", 3)


@pytest.mark.parametrize("width", [800, 400])
def test_narrow_screens_scroll_down_and_not_sideways(elman: Page, width: int) -> None:
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    elman.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    elman.open("forward-3")
    assert elman.run("return document.documentElement.scrollWidth") <= width
    assert elman.one("#play").is_displayed()
    elman.one("#next").click()
    assert elman.frame == ("forward", 4)
    elman.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_page_asks_the_network_for_anything(elman: Page) -> None:
    elman.browser.get_log("performance")
    elman.open("backward-6")
    asked = [
        message["params"]["request"]["url"]
        for entry in elman.browser.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"]
        == "Network.requestWillBeSent"
    ]
    # The browser draws some of its own controls with pictures that it holds itself (chrome:).
    asked = [url for url in asked if not url.startswith(("data:", "about:", "chrome:"))]
    assert {url.partition("#")[0] for url in asked} == {elman.path.as_uri()}


def test_a_script_that_breaks_would_be_seen(elman: Page, tmp_path: Path) -> None:
    text = elman.path.read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("function summary(", "function sumary(", 1), encoding="utf-8")
    other = Page(elman.browser, broken, elman.data).open()
    assert other.text("#summary") == ""
    assert len(other.complaints()) > 0


def test_200_steps_of_an_lstm_are_small_and_quick(long_lstm: Page) -> None:
    assert os.path.getsize(long_lstm.path) < 2_000_000
    long_lstm.open("backward-80")
    assert "h[120]" in {e.get_attribute("textContent") for e in long_lstm.all("#graph .label")}
    assert "steps" in " ".join(e.text for e in long_lstm.all("#graph .heading"))
    # What a frame costs when nothing else runs: the least of many, since machines are shared.
    times = long_lstm.run(
        "const times = [];"
        "for (let k = 0; k < 120; k++) {"
        "  const began = performance.now();"
        "  document.body.dispatchEvent(new KeyboardEvent('keydown',"
        "    {key: 'ArrowRight', repeat: true, bubbles: true}));"
        "  times.push(performance.now() - began);"
        "} return times"
    )
    assert long_lstm.frame == ("backward", 200)
    assert sorted(times)[12] < 1000 / 60
    for g in long_lstm.data["gradients"]:
        if g["norm"] >= 1e-3:
            assert long_lstm.text(f"[data-gradient='{g['name']}']") == shown(g["norm"])
    assert long_lstm.complaints() == []
