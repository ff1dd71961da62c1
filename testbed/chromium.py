"""Debian's Chromium without a window, driven by the DevTools protocol: opens pages, looks at them, and takes pictures.

Source: chromedevtools.github.io/devtools-protocol (Target, Page, Runtime, Network, Emulation, Input).
"""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp

PROGRAM: Final = "chromium"
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_WAIT_S: Final = 20.0
"""Bounds the start of the browser, an answer, and a wait for what a page shows, s."""
_POLL_S: Final = 0.05
_MESSAGE_MAX_BYTES: Final = 64 << 20
"""Bounds one message of the browser, in bytes: a picture of a long page has some MB."""


class BrowserError(Exception):
    """The browser did not do what it was told; the message is its own."""


def is_installed() -> bool:
    """Whether there is a browser."""
    return shutil.which(PROGRAM) is not None


class Page:
    """One tab.

    Args:
        send: sends a command to the tab, and gives the answer.
    """

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session
        self._passed = asyncio.Event()
        self.requests: list[str] = []
        """URLs that it asked for."""
        self.answered: dict[str, int] = {}
        """The status of each answer, by the number of the request; those too that the page was not let see."""
        self._asked: dict[str, str] = {}
        self.complaints: list[str] = []
        """What the browser's console says of errors, and violations of the page's policy."""

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command, by its name in the protocol; raise BrowserError if it fails."""
        return await self._browser.send(method, parameters, self._session)

    async def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Have the window of a size, in CSS pixels, and light or dark."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = "dark" if dark else "light"
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def open(self, url: str) -> None:
        """Go to an address."""
        answer = await self.send("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(answer["errorText"])

    async def run(self, script: str, **options: Any) -> Any:
        """The value of an expression of JavaScript; a promise is waited for. `options`: of `Runtime.evaluate`."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, **options
        )  # fmt: skip
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"].get("exception", {}).get("description", answer)))
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true, and give its value.

        Raises:
            TimeoutError: it did not become so; the message has what the page shows.
        """
        for _ in range(round(_WAIT_S / _POLL_S)):
            with contextlib.suppress(BrowserError):  # the page is being loaded
                if value := await self.run(script):
                    return value
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"{script} is not true; the page shows {await self.run('document.body.innerText')}")

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the page at once, but for what it asks of others; from then on none passes by itself."""
        self._passed.clear()
        await self.send(
            "Emulation.setVirtualTimePolicy", policy="pauseIfNetworkFetchesPending", budget=round(1000 * seconds)
        )
        async with asyncio.timeout(_WAIT_S):
            await self._passed.wait()

    async def press(self, key: str, **event: Any) -> None:
        """Press and release a key, such as Tab, Enter or Escape."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **text,
                **event,
            )

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen as a PNG; or the whole page, however long."""
        answer = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **(
            {"clip": {**(await self._size()), "x": 0, "y": 0, "scale": 1}} if whole else {}
        ))  # fmt: skip
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    async def _size(self) -> dict[str, float]:
        metrics = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        return {"width": metrics["width"], "height": metrics["height"]}

    def answers(self) -> list[tuple[str, int]]:
        """The URL and the status of each answer."""
        return [(self._asked.get(number, ""), status) for number, status in self.answered.items()]

    def heard(self, event: dict[str, Any]) -> None:
        """Take note of an event of the protocol."""
        parameters = event["params"]
        match event["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
                self._asked[parameters["requestId"]] = parameters["request"]["url"]
            case "Emulation.virtualTimeBudgetExpired":
                self._passed.set()
            case "Network.responseReceivedExtraInfo":
                self.answered[parameters["requestId"]] = parameters["statusCode"]
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters["exceptionDetails"]))
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.complaints.append(f"{parameters['entry']['source']}: {parameters['entry']['text']}")


class Browser:
    """A running browser. Use `browser()`.

    Args:
        socket: of the DevTools protocol.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def send(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """Give a command, to a tab or to the browser itself."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message if session is None else {**message, "sessionId": session})
        async with asyncio.timeout(_WAIT_S):
            result = await answer
        if "error" in result:
            raise BrowserError(f"{method}: {result['error']['message']}")
        return dict(result["result"])

    async def page(self) -> Page:
        """A new tab."""
        target = await self.send("Target.createTarget", {"url": "about:blank"})
        attached = await self.send("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.send(f"{domain}.enable")
        return page

    async def listen(self) -> None:
        """Take what the browser says, until it ends."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                if not (waiting := self._waiting.pop(said["id"])).done():
                    waiting.set_result(said)
            elif (page := self._pages.get(said.get("sessionId", ""))) is not None:
                page.heard(said)


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """Start a browser with a profile of its own in a folder, and end it."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *_FLAGS, f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port, path = await _address(folder / "DevToolsActivePort")
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=_MESSAGE_MAX_BYTES) as socket,
        ):
            started = Browser(socket)
            listening = asyncio.create_task(started.listen())
            try:
                yield started
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
    finally:
        process.terminate()
        try:
            async with asyncio.timeout(_WAIT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _address(path: Path) -> tuple[str, str]:
    """Port and path of the browser's socket, which it writes into its profile."""
    for _ in range(round(_WAIT_S / _POLL_S)):
        with contextlib.suppress(OSError):
            lines = (await asyncio.to_thread(path.read_text)).splitlines()
            if len(lines) == 2:
                return lines[0], lines[1]
        await asyncio.sleep(_POLL_S)
    raise BrowserError("the browser did not start")
