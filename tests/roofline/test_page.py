"""The page in headless Chromium: it renders, recomputes as Python does, and is fit for people."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import roofline
from quant.common.errors import RequestError
from roofline.bounds.limits import limits
from roofline.calibration.laws import load_calibration
from roofline.devices.device import load_hardware
from roofline.reports.page import PageRequest, to_page
from roofline.reports.page.data import page_data
from roofline.reports.page.encode import to_script
from roofline.workloads.models import load_config

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
FLAGS += ["--disable-component-update", "--no-first-run"]
SMALL: dict[str, Any] = {
    "all_weights": ("fp16", "bitmod4:g128:int8"),
    "all_kv": ("fp16", "fp8-e4m3"),
    "all_devices": ("a100-80g", "rtx-4090"),
    "all_tp": (1, 2, 4),
}
MODELS = ("llama-3.1-8b", "deepseek-v2-lite", "gemma-3-1b-it")
H100 = load_hardware("h100-sxm")


def request_of(model: Any, **changes: Any) -> PageRequest:  # noqa: ANN401
    return replace(PageRequest(model, H100, **SMALL), **changes)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "Chromium is needed for the tests of the page: run scripts/apt.sh"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    files = {}
    for model in MODELS:
        files[model] = folder / f"{model}.html"
        files[model].write_text(to_page(request_of(model)))
    return files


class Opened:
    """A page and the errors it printed."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:  # noqa: ANN401
        self.errors: list[str] = []
        self.page: Page = browser.new_page(**options)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(path.as_uri())

    def set(self, **settings: object) -> None:
        for key, value in settings.items():
            if key in {"batch", "context"}:
                self.page.fill(f"#{key}", str(value))
            else:
                self.page.select_option(f"#{key}", str(value))

    def number(self, selector: str, attribute: str) -> float:
        return float(self.page.get_attribute(selector, attribute) or "nan")

    @property
    def time(self) -> float:
        return self.number("#time", "data-time")


def in_python(model: str, setting: dict[str, Any]) -> tuple[float, float, int, int]:
    spec = load_hardware(setting["device"])
    work = roofline.workload(
        model,
        setting["phase"],
        setting["batch"],
        setting["context"],
        weights=setting["weights"],
        kv=setting["kv"],
        tp=setting["tp"],
    )
    law = load_calibration(spec) if setting["calibrated"] == "calibrated" else None
    analysis, most = roofline.analyze(work, spec, law), limits(work, spec)
    return analysis.time_s, analysis.memory.total, most.batch, most.context


@pytest.mark.parametrize("model", MODELS)
def test_the_page_computes_what_python_does(
    browser: Browser, pages: dict[str, Path], model: str
) -> None:
    rng, opened = random.Random(model), Opened(browser, pages[model])
    shares = page_data(request_of(model))["choices"]["tp"]
    for _ in range(12):
        setting = {
            "phase": rng.choice(["prefill", "decode"]),
            "batch": rng.randint(1, 300),
            "context": rng.randint(1, 40_000),
            "weights": rng.choice(SMALL["all_weights"]),
            "kv": rng.choice(SMALL["all_kv"]),
            "device": rng.choice([*SMALL["all_devices"], "h100-sxm"]),
            "tp": rng.choice(shares),
            "calibrated": rng.choice(["ideal", "calibrated"]),
        }
        opened.set(**setting)
        time, memory, batch, context = in_python(model, setting)
        assert opened.time == pytest.approx(time, rel=1e-6), setting
        assert opened.number("#fits", "data-bytes") == pytest.approx(memory, rel=1e-6)
        assert opened.number("#largest", "data-batch") == batch
        assert opened.number("#largest", "data-context") == context
    assert opened.errors == []


def test_every_control_changes_the_numbers(browser: Browser, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["llama-3.1-8b"])
    changes = {"batch": 64, "context": 9000, "weights": "bitmod4:g128:int8", "kv": "fp8-e4m3"}
    changes |= {"device": "rtx-4090", "tp": "2", "calibrated": "calibrated", "phase": "prefill"}
    seen = [opened.time]
    for key, value in changes.items():
        opened.set(**{key: value})
        seen.append(opened.time)
    assert len(set(seen)) == len(seen)
    opened.page.fill("#batch", "0")
    assert opened.page.get_attribute("#batch", "aria-invalid") == "true"
    assert opened.time == seen[-1]
    assert opened.errors == []


def test_the_table_is_sorted_and_filtered_by_keyboard(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = Opened(browser, pages["llama-3.1-8b"]).page
    page.focus("#phase")
    for _ in range(7):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "calibrated"
    page.focus('th button[data-key="role"]')
    page.keyboard.press("Enter")
    assert page.get_attribute("th:first-child", "aria-sort") == "ascending"
    names = page.locator("#ops tbody td:first-child").all_inner_texts()
    assert names == sorted(names)
    page.fill("#filter", "mlp")
    filtered = page.locator("#ops tbody td:first-child").all_inner_texts()
    assert filtered
    assert all("mlp" in name for name in filtered)
    page.focus("circle.point")
    assert "op/B" in page.locator("#tip").inner_text()


def test_two_settings_are_compared(browser: Browser, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["llama-3.1-8b"])
    before = opened.time
    opened.page.click("#keep")
    opened.set(weights="bitmod4:g128:int8")
    row = opened.page.locator("#compare tbody tr").first.inner_text()
    assert f"{before / opened.time:.2f}x" in row


def test_it_is_fit_for_phones_and_the_night_and_paper(
    browser: Browser, pages: dict[str, Path]
) -> None:
    path = pages["deepseek-v2-lite"]
    phone = Opened(browser, path, viewport={"width": 360, "height": 740})
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    colours = []
    for scheme in ("light", "dark"):
        page = Opened(browser, path, color_scheme=scheme).page
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.click("#theme")
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] == colours[3] != colours[1] == colours[2]
    page = Opened(browser, path).page
    page.emulate_media(media="print")
    assert not page.is_visible("#controls")
    assert page.pdf()[:5] == b"%PDF-"


def test_names_are_text(browser: Browser, tmp_path: Path) -> None:
    name = "</script><img src=x onerror=document.title='hacked'><script>"
    config = load_config("smollm2-135m")[1] | {"_name_or_path": name}
    path = tmp_path / "page.html"
    path.write_text(to_page(request_of(config, command="<b>&")))
    opened = Opened(browser, path)
    assert opened.page.locator("h1").inner_text() == name
    assert opened.page.title() == f"Roofline: {name}"
    assert opened.page.locator("img").count() == 0
    assert "<b>&" in opened.page.locator("footer").inner_text()
    assert opened.errors == []


def test_the_page_needs_nothing_else(pages: dict[str, Path]) -> None:
    text = pages["llama-3.1-8b"].read_text()
    addresses = set(re.findall(r"https?://[^\"' ]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|img|iframe|script)[^>]+(src|href)=", text)
    assert len(text) < 3_000_000


def test_data_are_json_without_markup() -> None:
    text = to_script({"a": "<&>\u2028"})
    assert not set("<&>\u2028") & set(text)
    assert json.loads(text) == {"a": "<&>\u2028"}


def test_encoders_have_one_phase() -> None:
    data = page_data(request_of("bert-base-uncased", phase="prefill"))
    assert data["phases"] == ["prefill"]
    with pytest.raises(RequestError, match="generates nothing"):
        page_data(request_of("bert-base-uncased", phase="decode"))
