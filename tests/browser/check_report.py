"""A report's page in a real browser, run by hand, as Chromium is no Python package:

    python tests/browser/check_report.py report.html [--screenshot report.png]

Opens the page in headless Chromium and fails where it loads anything but itself, says anything on the console, draws a
3D view otherwise than Python did, or does not answer the mouse, the wheel, the keyboard and the choice of a sequence.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import click
from PIL import Image
from tornado.websocket import WebSocketClientConnection, websocket_connect

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-port=0"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
_PATIENCE_S = 20
_LINES = (
    "[...document.querySelector('svg.orbit').querySelectorAll('line')]"
    ".flatMap(line => ['x1', 'y1', 'x2', 'y2'].map(name => +line.getAttribute(name)))"
)
_CURVE = "document.querySelector('.timeline polyline.mean').getAttribute('points')"
_TICKS = "[...document.querySelector('.timeline').querySelectorAll('[data-x], [data-y]')].map(e => e.textContent)"
_READOUT = "document.querySelector('.timeline output').textContent"


class Browser:
    """One page of a running Chromium, over its debugging protocol."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket
        self.number = 0
        self.events: list[dict[str, Any]] = []

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; what is reported meanwhile goes to `events`."""
        self.number += 1
        await self.socket.write_message(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            text = await asyncio.wait_for(self.socket.read_message(), _PATIENCE_S)
            if text is None:
                raise click.ClickException("the browser went away")
            message = json.loads(text)
            if message.get("id") == self.number:
                if "error" in message:
                    raise click.ClickException(f"{method}: {message['error']}")
                return dict(message["result"])
            self.events.append(message)

    async def value(self, script: str) -> Any:
        """What an expression is in the page."""
        answer = await self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise click.ClickException(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """One event of the mouse, px from the window's corner."""
        await self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    async def key(self, name: str) -> None:
        """One key, pressed and let go."""
        for kind in ("keyDown", "keyUp"):
            await self.ask("Input.dispatchKeyEvent", type=kind, key=name)

    async def middle(self, script: str) -> tuple[float, float]:
        """The middle of an element, scrolled into the window."""
        await self.value(f"{script}.scrollIntoView({{block: 'center'}})")
        box = await self.value(f"(r => [r.x, r.y, r.width, r.height])({script}.getBoundingClientRect())")
        return box[0] + box[2] / 2, box[1] + box[3] / 2


async def check(browser: Browser, page: Path, screenshot: Path | None, height: int) -> None:
    """Everything that is looked at, line by line."""
    for domain in ("Page", "Runtime", "Log", "Network"):
        await browser.ask(f"{domain}.enable")
    await browser.ask("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    await browser.ask("Page.navigate", url=page.resolve().as_uri())
    start = time.monotonic()
    while not any(event["method"] == "Page.loadEventFired" for event in browser.events):
        await browser.value("document.readyState")
        if time.monotonic() - start > _PATIENCE_S:
            raise click.ClickException(f"{page} is not loaded after {_PATIENCE_S} s")
    orbits = await browser.value("document.querySelectorAll('svg.orbit').length")
    require(orbits > 0, f"there are {orbits} 3D views")
    if screenshot:
        await take(browser, screenshot, height)
    await check_orbit(browser)
    await check_timeline(browser, page.read_text(encoding="utf-8"))
    require(
        await browser.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)"), "pictures are there"
    )
    complaints = [event for event in browser.events if is_complaint(event)]
    require(not complaints, f"the console is silent {complaints[:2] or ''}")
    asked = {
        event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"
    }
    strangers = [url[:80] for url in asked if not url.startswith(("data:", page.resolve().as_uri()))]
    require(not strangers, f"nothing is loaded but the page itself {strangers or ''}")


async def check_orbit(browser: Browser) -> None:
    """The first 3D view: drawn as Python drew it, turned, zoomed and put back."""
    view = "document.querySelector('svg.orbit')"
    drawn = await browser.value(_LINES)
    x, y = await browser.middle(view)
    await browser.value(f"{view}.dispatchEvent(new MouseEvent('dblclick'))")
    again = await browser.value(_LINES)
    difference = max(abs(a - b) for a, b in zip(sorted(drawn), sorted(again), strict=True))
    require(difference < 0.4, f"the script draws a 3D view as Python did, within {difference:.2f} px")

    async def dragged() -> None:
        await browser.mouse("mousePressed", x, y, button="left", clickCount=1)
        await browser.mouse("mouseMoved", x + 60, y + 20, button="left", buttons=1)
        await browser.mouse("mouseReleased", x + 60, y + 20, button="left", clickCount=1)

    async def wheeled() -> None:
        await browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
        await asyncio.sleep(0.3)

    for what, act in (
        ("a drag turns it", dragged),
        ("the wheel zooms it", wheeled),
        ("an arrow key turns it", lambda: browser.key("ArrowLeft")),
    ):
        before = await browser.value(_LINES)
        await act()
        require(before != await browser.value(_LINES), what)
    await browser.key("0")
    require(await browser.value(_LINES) == again, "0 puts it back")


async def check_timeline(browser: Browser, page: str) -> None:
    """The chart over time: drawn as Python drew it, then another sequence, and the numbers under the pointer."""
    section = re.search(r'<section class="timeline">.*?</section>', page, re.S)[0]
    ticks = re.findall(r'<text [^>]*data-[xy]="\d"[^>]*>([^<]*)<', section)
    require(await browser.value(_TICKS) == ticks, "the script writes the ticks of the chart over time as Python did")
    points = re.search(r'<polyline points="([^"]*)" class="curve mean"', section)[1]
    pairs = zip(numbers(await browser.value(_CURVE)), numbers(points), strict=True)
    difference = max(abs(a - b) for a, b in pairs)
    require(difference < 0.4, f"and its curve, within {difference:.2f} px")
    if await browser.value("document.querySelector('.timeline select').options.length") > 1:
        before = await browser.value(_CURVE)
        await browser.value("document.querySelector('.timeline button[data-step=\"1\"]').click()")
        require(before != await browser.value(_CURVE), "the next sequence has another curve")
    x, y = await browser.middle("document.querySelector('.timeline svg.chart')")
    await browser.mouse("mouseMoved", x, y)
    said = await browser.value(_READOUT)
    require("mean" in said and "mm" in said, f"pointing at the chart says: {said}")


async def take(browser: Browser, path: Path, height: int) -> None:
    """A picture of the page's upper `height` px."""
    clip = {"x": 0, "y": 0, "width": 1280, "height": height, "scale": 1}
    shot = await browser.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    picture = Image.open(BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)  # a third of the size
    click.echo(f"wrote {path}")


def numbers(points: str) -> list[float]:
    return [float(number) for number in points.replace(",", " ").split()]


def is_complaint(event: dict[str, Any]) -> bool:
    return event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def require(met: bool, what: str) -> None:
    """Say that something holds, or end with exit status 1."""
    if not met:
        raise click.ClickException(f"NOT so: {what}")
    click.echo(f"ok: {what}")


def until(found: Callable[[], Any]) -> Any:
    """What `found` finds, once it does."""
    start = time.monotonic()
    while time.monotonic() - start < _PATIENCE_S:
        if result := found():
            return result
        time.sleep(0.05)
    raise click.ClickException("the browser did not start")


@click.command()
@click.argument("page", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--screenshot", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--height", default=2400, show_default=True, help="Of the screenshot, px.")
def main(page: Path, screenshot: Path | None, height: int) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise click.ClickException("no chromium on PATH")
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Chromium's helpers may outlive it a little
        command = [chromium, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                file = Path(folder) / "DevToolsActivePort"
                port = until(lambda: file.is_file() and file.read_text().partition("\n")[0])
                with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                    address = next(one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page")

                async def run() -> None:
                    await check(
                        Browser(await websocket_connect(address, max_message_size=1 << 28)), page, screenshot, height
                    )

                asyncio.run(run())
            finally:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
