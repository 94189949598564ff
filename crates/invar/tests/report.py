"""Opens reports in headless Chromium and uses them as a person would.

    report.py DIRECTORY        # holds reads.html and grains.html

The columns of a page are read here by a decoder of its own, so that what the page selects, shows and exports is compared
with what is stored. CHROMIUM names the program [default: the first that is found].
"""

import base64
import contextlib
import csv
import io
import json
import math
import os
import pathlib
import re
import shutil
import sys
import time
import xml.etree.ElementTree as xml
import zlib

from playwright.sync_api import sync_playwright

PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "chrome"]
SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "i32": 4, "f32": 4, "f64": 8}
LETTERS = {"u8": "B", "u16": "H", "u32": "I", "i32": "i", "f32": "f", "f64": "d"}


class Stored:
    """The columns of a page, from its text."""

    def __init__(self, path):
        text = path.read_text(encoding="utf-8")
        self.header = json.loads(re.search(r'id="contents">(.*?)</script>', text, re.S)[1])
        self.blocks = dict(re.findall(r'id="block-(\d+)">([^<]*)</script>', text))
        self.n = self.header["num_points"]
        self.columns = {column["name"]: self.column(column) for column in self.header["columns"]}

    def column(self, header):
        raw = zlib.decompress(base64.b64decode(self.blocks[str(header["block"])]), wbits=-15)
        if header["kind"] == "text":
            return self.texts(raw, self.n)[0]
        if header["kind"] == "dictionary":
            number = int.from_bytes(raw[:4], "little")
            words, end = self.texts(raw[4:], number)
            return [words[code] for code in self.planes(raw[4 + end :], self.n, header["type"])]
        values = self.planes(raw, self.n, header["type"])
        if header["kind"] == "difference":
            for i in range(1, self.n):
                values[i] += values[i - 1]
            values = [int(value) for value in values]
        if header["kind"] == "bool":
            values = [value == 1 for value in values]
        nulls = raw[-self.n :] if header["nulls"] else bytes(self.n)
        absent = [null == 1 or (isinstance(v, float) and math.isnan(v)) for v, null in zip(values, nulls)]
        return [None if null else value for value, null in zip(values, absent)]

    @staticmethod
    def planes(raw, count, kind):
        width = WIDTHS[kind]
        rows = bytes(raw[plane * count + i] for i in range(count) for plane in range(width))
        return memoryview(rows).cast(LETTERS[kind]).tolist()

    @classmethod
    def texts(cls, raw, count):
        at, found = 4 * count, []
        for length in cls.planes(raw, count, "u32"):
            if length == 0xFFFFFFFF:
                found.append(None)
                continue
            found.append(raw[at : at + length].decode())
            at += length
        return found, at


class Page:
    """A report in a browser, and what the browser had to say against it."""

    def __init__(self, browser, path, **options):
        self.stored = Stored(path)
        self.complaints, self.requests = [], []
        self.tab = browser.new_page(viewport={"width": 1300, "height": 900}, accept_downloads=True, **options)
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri())
        self.tab.wait_for_selector("html[data-state=ready], html[data-state=failed]", state="attached")
        assert self.tab.get_attribute("html", "data-state") == "ready", self.complaints

    def place(self, row):
        """Where a point is on the screen, as long as all are shown."""
        box = self.tab.locator("#map").bounding_box()
        (left, right), (low, high) = self.stored.header["bounds"]
        scale = 0.92 * min(box["width"] / (right - left), box["height"] / (high - low))
        x, y = self.stored.columns["x"][row], self.stored.columns["y"][row]
        return (
            box["x"] + box["width"] / 2 + (x - (left + right) / 2) * scale,
            box["y"] + box["height"] / 2 - (y - (low + high) / 2) * scale,
        )

    def lonely(self):
        """The point that is farthest from any other."""
        places = [self.place(row) for row in range(self.stored.n)]
        gap = lambda row: min(math.dist(places[row], other) for at, other in enumerate(places) if at != row)
        return max(range(self.stored.n), key=gap)

    def selected(self):
        text = self.tab.inner_text("#count")
        found = re.match(r"([\d,]+) of ", text)
        return int(found[1].replace(",", "")) if found else 0

    def filter(self, condition):
        self.tab.fill("#filter", condition)
        with self.answer():
            self.tab.press("#filter", "Enter")
        return self.selected()

    @contextlib.contextmanager
    def answer(self):
        """Waits until what was asked within is answered."""
        before = self.tab.get_attribute("html", "data-answers") or "0"
        yield
        self.tab.wait_for_selector(f"html:not([data-answers='{before}'])", state="attached")

    def colour(self, column):
        with self.answer():
            self.tab.select_option("#colour", column)

    def saved(self, selector):
        with self.tab.expect_download() as download:
            self.tab.locator(selector).first.click(force=True)
        return pathlib.Path(download.value.path()).read_bytes()

    def picture(self):
        # Until what moved is drawn in full, twice over.
        self.tab.wait_for_timeout(250)
        frames = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        self.tab.evaluate(frames)
        return self.tab.evaluate("() => document.getElementById('map').toDataURL()")

    def close(self):
        outside = [url for url in self.requests if not url.startswith(("file:", "blob:file:", "blob:null"))]
        assert len([url for url in self.requests if url.startswith("file:")]) == 1, self.requests
        assert not outside and not self.complaints, (outside, self.complaints)
        self.tab.close()


def wait(holds):
    """Until something comes true, which it must within half a minute."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def done(what):
    print(f"{what}: as it should", flush=True)


def hover_and_pick(page):
    row = page.lonely()
    page.tab.mouse.move(*page.place(row))
    page.tab.wait_for_selector("#tip:not([hidden])")
    name = page.stored.columns["id"][row]
    assert page.tab.text_content("#tip strong") == name
    page.tab.mouse.click(*page.place(row))
    page.tab.wait_for_selector("#facts dl")
    assert page.tab.text_content("#facts h3") == name
    facts = page.tab.inner_text("#facts")
    assert str(page.stored.columns["key"][row])[:4] in facts.replace(",", "") or "key" in facts
    done("hovering and picking")


def lasso(page):
    places = [page.place(row) for row in range(page.stored.n)]
    middle = sorted(x for x, _ in places)[page.stored.n // 2] + 0.5
    box = page.tab.locator("#map").bounding_box()
    left, top, bottom = box["x"] + 2, box["y"] + 2, box["y"] + box["height"] - 2
    corners = [(left, top), (middle, top), (middle, bottom), (left, bottom)]
    page.tab.keyboard.down("Shift")
    page.tab.mouse.move(*corners[0])
    page.tab.mouse.down()
    for corner in corners[1:]:
        page.tab.mouse.move(*corner, steps=4)
    page.tab.mouse.up()
    page.tab.keyboard.up("Shift")
    inside = sum(left < x < middle and top < y < bottom for x, y in places)
    near = sum(abs(x - middle) < 0.6 for x, _ in places)
    assert abs(page.selected() - inside) <= near and page.selected() > 0, (page.selected(), inside, near)
    # The button does what the shift key does.
    page.tab.click("#tool-lasso")
    page.tab.mouse.move(*corners[0])
    page.tab.mouse.down()
    for x, y in [(box["x"] + box["width"] - 2, top), (box["x"] + box["width"] - 2, bottom), (left, bottom)]:
        page.tab.mouse.move(x, y, steps=4)
    page.tab.mouse.up()
    assert page.selected() == page.stored.n
    page.tab.click("#tool-move")
    done("the lasso")


def filters(page):
    c = page.stored.columns
    rows = range(page.stored.n)
    known = lambda name, row: c[name][row] is not None
    tests = {
        "length_bp > 2000": lambda r: c["length_bp"][r] > 2000,
        "length_bp >= 1037 AND length_bp <= 1074 or length_bp=1000": lambda r: 1037 <= c["length_bp"][r] <= 1074
        or c["length_bp"][r] == 1000,
        "not (cluster = 0 or cluster = 1)": lambda r: c["cluster"][r] == 2,
        "cluster in (0, 2) and length_bp <> 1000": lambda r: c["cluster"][r] in (0, 2) and c["length_bp"][r] != 1000,
        "gc < 0.3": lambda r: known("gc", r) and c["gc"][r] < 0.3,
        "not gc < 0.3": lambda r: known("gc", r) and not c["gc"][r] < 0.3,
        "gc = 0.1": lambda r: known("gc", r) and abs(c["gc"][r] - 0.1) < 1e-6,
        "gc is null": lambda r: not known("gc", r),
        "gc between 0.2 and 0.25": lambda r: known("gc", r) and 0.2 <= round(c["gc"][r], 6) <= 0.25,
        "id like 'read%9'": lambda r: c["id"][r].startswith("read") and c["id"][r].endswith("9"),
        "id not like 'read___'": lambda r: not re.fullmatch("read...", c["id"][r], re.S),
        "id = '''; DROP TABLE reads; --'": lambda r: c["id"][r].startswith("';"),
        "is_reverse = true and source = 'a.fastq'": lambda r: c["is_reverse"][r] and c["source"][r] == "a.fastq",
        "description is not null": lambda r: known("description", r),
        '"length_bp" < 1500': lambda r: c["length_bp"][r] < 1500,
    }
    for condition, test in tests.items():
        expected = sum(bool(test(row)) for row in rows)
        found = page.filter(condition)
        assert found == expected and expected > 0, (condition, found, expected)
    mistakes = {
        "lenght_bp > 3": ("lenght_bp", "nearest is length_bp"),
        "gc > ": ("\u2423", "expected a number or a 'text', found the end"),
        "gc = 'a'": ("'a'", "expected a number, found 'a'"),
        "source = 3": ("3", "expected a 'text', found 3"),
        "gc > 0.2 length_bp > 3": ("length_bp", "expected AND, OR or the end"),
        "(gc > 0.2": ("\u2423", "expected AND, OR or )"),
        "cluster like 'a'": ("cluster", "LIKE is for texts"),
        "source = a.fastq": ("a", "texts stand in single quotes"),
        "source = 'a": ("'", "does not end"),
    }
    before = page.selected()
    for condition, (word, reason) in mistakes.items():
        page.filter(condition)
        said = page.tab.text_content("#filter-error")
        assert page.tab.text_content("#filter-error mark") == word and reason in said, (condition, said)
        assert page.selected() == before
    assert page.filter("") == 0
    done("the filter")


def export(page):
    assert page.filter("id not like 'read%' or cluster = 1") > 5
    rows = list(csv.DictReader(io.StringIO(page.saved("#download").decode(), newline="")))
    c = page.stored.columns
    expected = [r for r in range(page.stored.n) if not c["id"][r].startswith("read") or c["cluster"][r] == 1]
    assert [row["id"] for row in rows] == [c["id"][r] for r in expected]
    assert [int(row["key"]) for row in rows] == [c["key"][r] for r in expected]
    assert [row["gc"] == "" for row in rows] == [c["gc"][r] is None for r in expected]
    assert all(abs(float(row["gc"]) - c["gc"][r]) < 1e-6 for row, r in zip(rows, expected) if row["gc"])
    done("the CSV")


def hostile_names(page):
    page.filter("length_bp <= 1148")
    cells = page.tab.locator("#rows tbody td:first-child").all_text_contents()
    names = [name for name in page.stored.columns["id"] if not name.startswith("read")]
    assert len(names) == 5 and all(name in cells for name in names), cells
    assert page.tab.evaluate("() => window.pwned") is None
    assert page.tab.locator("img").count() == 0
    page.tab.locator("#rows tbody tr").first.click()
    assert page.tab.text_content("#facts h3") in names
    done("hostile names")


def colours(page):
    names = [name for name in page.tab.locator("#colour option").all_text_contents()]
    assert "length_bp" in names and "id" not in names and "x" not in names
    before = page.picture()
    pictures = {before}
    for name in ["length_bp", "gc", "source", "is_reverse"]:
        page.colour(name)
        assert page.tab.inner_text("#legend h3") == name
        pictures.add(page.picture())
    assert len(pictures) == 5
    page.colour("length_bp")
    linear = page.tab.inner_text("#legend .ends")
    with page.answer():
        page.tab.check("#log")
    assert page.tab.inner_text("#legend .ends") != linear
    page.colour("cluster")
    with page.answer():
        page.tab.locator("#legend button").first.click()
    assert page.selected() == page.stored.columns["cluster"].count(0)
    page.tab.locator("button.cluster").nth(2).click()
    assert page.selected() == page.stored.columns["cluster"].count(2)
    done("colours and clusters")


def keyboard(page):
    page.tab.focus("#map")
    before = page.picture()
    seen = {before}
    for key in ["+", "ArrowLeft", "-"]:
        page.tab.keyboard.press(key)
        seen.add(page.picture())
    assert len(seen) == 4
    page.tab.keyboard.press("Enter")
    page.tab.wait_for_selector("#facts dl")
    page.tab.keyboard.press("Escape")
    assert page.selected() == 0
    page.tab.keyboard.press("0")
    done("the keyboard")


def pictures(page):
    png = page.saved("#save-png")
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and len(png) > 5000
    svg = xml.fromstring(page.saved("#save-svg"))
    circles = [e for e in svg.iter() if e.tag.endswith("circle")]
    # A circle a point, and three in the legend.
    assert len(circles) == page.stored.n + 3, len(circles)
    assert len(page.tab.pdf()) > 20000
    done("saving and printing")


def gallery(page):
    pictures = page.tab.locator("#gallery canvas")
    assert pictures.count() > 30
    drawn = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
    wait(lambda: all(pictures.nth(at).evaluate(drawn) > 10 for at in range(0, pictures.count(), 7)))
    pictures.first.click()
    page.tab.wait_for_selector("#facts dl")
    wait(lambda: page.tab.locator("#facts canvas").evaluate(drawn) > 10)
    row = page.lonely()
    page.tab.evaluate("() => scrollTo({ top: 0, behavior: 'instant' })")
    page.tab.mouse.move(*page.place(row))
    page.tab.wait_for_selector("#tip:not([hidden]) canvas")
    done("pictures of grains")


def ground(page):
    """The colour of a corner of the map."""
    script = """() => {
      const map = document.getElementById('map');
      const copy = Object.assign(document.createElement('canvas'), { width: 4, height: 4 });
      copy.getContext('2d').drawImage(map, 0, 0);
      return [...copy.getContext('2d').getImageData(1, 1, 1, 1).data].slice(0, 3);
    }"""
    return page.tab.evaluate(script)


def main():
    directory = pathlib.Path(sys.argv[1]).resolve()
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)))
    with sync_playwright() as playwright:
        launch = lambda *options: playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-quic", "--no-first-run", *options]
        )
        browser = launch(*SOFTWARE_GL)
        page = Page(browser, directory / "reads.html", color_scheme="light")
        assert page.tab.locator("#fallback").is_hidden(), page.tab.inner_text("#fallback")
        assert ground(page) == [255, 255, 255]
        page.tab.evaluate("() => document.getElementById('map-section').scrollIntoView({ behavior: 'instant' })")
        for check in [hover_and_pick, lasso, filters, export, hostile_names, colours, keyboard, pictures]:
            check(page)
            page.tab.evaluate("() => document.getElementById('map-section').scrollIntoView({ behavior: 'instant' })")
        page.close()
        page = Page(browser, directory / "grains.html", color_scheme="dark")
        assert max(ground(page)) < 60
        gallery(page)
        page.close()
        browser.close()
        browser = launch("--disable-3d-apis")
        page = Page(browser, directory / "reads.html", color_scheme="light")
        assert "no WebGL 2" in page.tab.inner_text("#fallback")
        assert page.filter("cluster = 1") == page.stored.columns["cluster"].count(1)
        assert len(page.picture()) > 5000
        page.close()
        browser.close()
        done("without WebGL")


main()
