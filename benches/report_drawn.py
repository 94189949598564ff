#!/usr/bin/env python3
"""Seconds from opening a report to its last pixel, in a headless Chromium whose WebGL runs on the CPU.

    report_drawn.py PAGE

The best of three; drawn is when a pixel of the map has been read back after `data-state` says so. CHROMIUM names the browser.
"""

import os
import pathlib
import shutil
import sys
import time

from playwright.sync_api import sync_playwright

page = pathlib.Path(sys.argv[1]).resolve()
program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
software = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
read_back = """() => {
  const gl = document.getElementById('map').getContext('webgl2');
  gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
}"""
found = []
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *software])
    for _ in range(3):
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        begin = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector("html[data-state]", state="attached", timeout=120_000)
        tab.evaluate(read_back)
        found.append(time.perf_counter() - begin)
        tab.close()
    version = browser.version
    browser.close()
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB, drawn after {min(found):.1f} s (Chromium {version}, SwiftShader)")
