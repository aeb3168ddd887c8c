"""A JupyterLab and a Chromium that drives it, for tests and for whoever takes pictures.

A test asks for `jupyter`, shows a notebook, all of it run, and looks at what a learner would see.
After each test, whatever the pages reported as an error or asked of another machine fails it.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
QUIET += " --disable-sync --no-first-run --disable-dev-shm-usage"
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}

# Cells that are run before the kernel has connected are lost without a word.
CONNECT = """async () => {
  const context = jupyterapp.shell.currentWidget.context;
  await context.ready;
  await context.sessionContext.ready;
  await context.sessionContext.session.kernel.info;
}"""
CONNECTED = """() => {
  const kernel = jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
  return kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
RUN_ALL = """() => {
  window.__run = 'running';
  jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.__run = 'done'; });
}"""
ERRORS = """() => [...jupyterapp.shell.currentWidget.content.model.cells].flatMap(cell =>
  [...(cell.outputs ? cell.toJSON().outputs : [])]
    .filter(output => output.output_type === 'error')
    .map(output => output.ename + ': ' + output.evalue))"""

# WCAG 2's contrast of an element's words on all that lies behind them, washes of colour included.
CONTRAST = """(node, ink_name) => {
  const bright = colour => {
    const [r, g, b] = colour.map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const ink = bright(parts(getComputedStyle(node)[ink_name]).slice(0, 3));
  const layers = [];
  for (let n = node; n; n = n.parentElement) {
    const [r, g, b, a = 1] = parts(getComputedStyle(n).backgroundColor);
    layers.unshift([[r, g, b], a]);
  }
  const paper = bright(layers.reduce(
    (below, [above, a]) => below.map((v, i) => v * (1 - a) + above[i] * a), [255, 255, 255]));
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""
# Sets a widget's text as typing does; ends when the part that answers has been drawn anew.
TYPE = """async ({root, part, text}) => {
  const [area, answer] = ['textarea', part].map(s => document.querySelector(`${root} ${s}`));
  const drawn = new Promise((done, fail) => {
    setTimeout(() => fail(new Error('no answer in 300 s')), 300_000);
    new MutationObserver((_, watch) => {
      watch.disconnect();
      requestAnimationFrame(() => setTimeout(done));
    }).observe(answer, {childList: true});
  });
  area.value = text;
  area.dispatchEvent(new Event('input'));
  await drawn;
}"""
# What a piece of code prints in the kernel, past the notebook; an error of it is one here.
EXECUTE = """async code => {
  const kernel = jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
  const future = kernel.requestExecute({code, store_history: false});
  let said = '';
  future.onIOPub = ({header, content}) => {
    if (header.msg_type === 'stream') said += content.text;
  };
  const {content} = await future.done;
  if (content.status === 'error') throw new Error(`${content.ename}: ${content.evalue}`);
  return said;
}"""
# A page as it was opened: nothing pointed at, focused, scrolled or shown.
TIDY = """async () => {
  document.activeElement?.blur();
  delete window.hacked;
  await jupyterapp.commands.execute('notebook:clear-all-cell-outputs');
  await jupyterapp.shell.currentWidget.content.scrollToItem(0, 'start');
}"""
VIEWPORT = {"width": 1000, "height": 900}
PATIENCE_S = 300  # no wait is a judgement: a shared machine may be busy
THEMES = ("JupyterLab Dark", "JupyterLab Light")


class Jupyter:
    """A running JupyterLab and the browser that looks at it."""

    def __init__(self, url: str, token: str, folder: Path, browser):
        self.url, self.token, self.folder, self.browser = url, token, folder, browser
        self.complaints: list[str] = []
        self.contexts = []
        self.shown = (), None  # cells and window of the last `show`

    def write_notebook(self, name: str, *cells: str) -> str:
        """Save a notebook of these code cells in the server's folder; return its name."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.folder / name)
        return name

    def open_page(self, path: str):
        """A new browser window on a path of the server; what goes wrong there is noted."""
        context = self.browser.new_context(viewport=VIEWPORT)
        context.set_default_timeout(1000 * PATIENCE_S)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self.note_outside)
        joint = "&" if "?" in path else "?"
        page.goto(f"{self.url}{path}{joint}token={self.token}")
        return page

    def note_outside(self, request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.complaints.append(f"asked {parts.hostname} for {request.url}")

    def open_notebook(self, path: str):
        """A window on one notebook of the server's folder, its kernel connected."""
        page = self.open_page(f"/doc/tree/{quote(path)}?reset")  # no side bar of an earlier test
        self.connect(page)
        return page

    def choose_notebook(self, name: str):
        """A window on JupyterLab, where a notebook in the list of files was clicked twice."""
        page = self.open_page("/lab?reset")
        page.locator(f".jp-DirListing-item[title*='{name}']").dblclick()
        self.connect(page)
        return page

    def connect(self, page) -> None:
        """Until the kernel of the notebook in view is there."""
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context")
        page.evaluate(CONNECT)
        page.wait_for_function(CONNECTED)

    def run_all(self, page, timeout_s: float = PATIENCE_S, wait: bool = True) -> None:
        """Run all cells; with `wait`, until the last has ended."""
        page.evaluate(RUN_ALL)
        if wait:
            self.wait(page, timeout_s)

    def wait(self, page, timeout_s: float = PATIENCE_S) -> None:
        """Until all cells that `run_all` started have ended."""
        page.wait_for_function("() => window.__run === 'done'", timeout=1000 * timeout_s)

    def show(self, name: str, selector: str, *cells: str):
        """A window on a notebook of these cells, run without error; an output has the selector.

        The next test that shows the same cells gets the same window and kernel, the cells run anew.
        """
        before, page = self.shown
        if before == cells:
            page.set_viewport_size(VIEWPORT)
            page.mouse.move(0, 0)
            page.evaluate(TIDY)
        else:
            self.close()
            page = self.open_notebook(self.write_notebook(name, *cells))
            self.shown = cells, page
        self.run_all(page)
        assert self.errors(page) == []
        page.wait_for_selector(f".jp-OutputArea-output {selector}")
        return page

    def errors(self, page) -> list[str]:
        """What went wrong in cells: Jupyter calls such a run done, too."""
        return page.evaluate(ERRORS)

    def set_theme(self, page, name: str) -> None:
        """Switch to "JupyterLab Dark" or "JupyterLab Light", for this test and those after it."""
        page.evaluate(
            "name => jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name
        )
        light = "false" if "Dark" in name else "true"
        page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

    def contrast(self, page, selector: str, ink: str = "color") -> float:
        """Of the first such element's words on what lies behind them: 1 to 21, as in WCAG 2.

        ink: the property of its colour, such as "stroke" for a line.
        """
        return page.locator(selector).first.evaluate(CONTRAST, ink)

    def faults(self, page, selector: str) -> list[str]:
        """What axe finds inside such elements, of what it calls serious or critical."""
        found = Axe().run(page, {"include": [selector]}, {"resultTypes": ["violations"]})
        return [
            f"{fault['id']}: {fault['help']}: {node['html'][:200]} {node['failureSummary']}"
            for fault in found.response["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    def check_looks(self, page, root: str, parts: Sequence[str], picture: Path) -> None:
        """In both themes: words can be read, axe finds nothing; a picture of each, for people."""
        for theme in THEMES:
            self.set_theme(page, theme)
            page.wait_for_timeout(400)  # the new theme's colours fade in
            for part in parts:
                assert self.contrast(page, f"{root} {part}") >= 4.5, (theme, part)
            assert self.faults(page, root) == []
            shot = f"{picture}-{theme.split()[-1].lower()}.png"
            page.locator(f".jp-OutputArea-output {root}").first.screenshot(path=shot)

    def type(self, page, root: str, part: str, text: str) -> None:
        """Type a text into the widget `root`, until its `part` is drawn anew."""
        page.evaluate(TYPE, {"root": root, "part": part, "text": text})

    def execute(self, page, code: str) -> str:
        """What a piece of code prints in the kernel of the notebook in view, once it has ended."""
        return page.evaluate(EXECUTE, code)

    def occupy(self, page, code: str) -> None:
        """Have the kernel run a piece of code, and do not wait for it."""
        page.evaluate(f"code => {{ ({EXECUTE})(code); }}", code)

    def reopen_saved(self, page, name: str, build):
        """A window on a notebook as a reader gets it: saved, tidied, of a name nobody trusts."""
        page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        notebook = nbformat.read(self.folder / name, as_version=4)
        build.normalise(notebook)
        nbformat.write(notebook, self.folder / f"copied-{name}")
        return self.open_notebook(f"copied-{name}")

    def close(self, all_but=None) -> None:
        """Close all windows, or all but one."""
        kept = all_but.context if all_but else None
        for context in self.contexts:
            if context != kept:
                context.close()
        self.contexts = [kept] if kept else []
        if not kept:
            self.shown = (), None


@pytest.fixture(scope="session")
def chromium():
    """The browser of all tests; without one, an error in CI and a printed line elsewhere."""
    if not Path(CHROMIUM).exists():
        reason = "Chromium is missing (Debian: apt install chromium): no browser test was run"
        if os.environ.get("CI"):
            raise RuntimeError(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield browser
        browser.close()


@contextlib.contextmanager
def serve(home: Path, folder: Path, **environment: str) -> Iterator[tuple[str, str, Path]]:
    """(url, token, folder) of a JupyterLab that knows nothing of the user's own settings.

    home: where it keeps its own; folder: what it shows; environment: what kernels find in theirs.
    """
    names = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"]
    names += ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    token = secrets.token_hex(16)
    own = {name: str(home / name) for name in names}
    own |= {"LLMLAB_RUNS": str(home / "runs"), "JUPYTER_TOKEN": token}
    settings = home / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(NO_NEWS))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"""--no-browser --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port={port}
        --ServerApp.port_retries=0 --LabApp.expose_app_in_browser=True
        --LabApp.extension_manager=readonly""".split()
    command = [sys.executable, "-m", "jupyter", "lab", f"--ServerApp.root_dir={folder}", *options]
    variables, url = os.environ | own | environment, f"http://127.0.0.1:{port}"
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    try:
        wait_for(f"{url}/api/status?token={token}", process, home / "log")
        yield url, token, folder
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="session")
def server(chromium, tmp_path_factory):
    """The JupyterLab that all tests of this folder share."""
    home, folder = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("notebooks")
    with serve(home, folder) as served:
        yield served


def wait_for(url: str, process: subprocess.Popen, log: Path, timeout_s: float = PATIENCE_S) -> None:
    """Until the server answers."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def window(server, chromium):
    """The JupyterLab of a file's tests, which may share a window."""
    lab = Jupyter(*server, chromium)
    yield lab
    lab.close()


@pytest.fixture
def jupyter(window):
    """JupyterLab for one test; the test fails where a page complained or asked another machine."""
    window.complaints.clear()
    yield window
    window.close(all_but=window.shown[1])
    assert not window.complaints, window.complaints


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder for screenshots, to be looked at by people: LLMLAB_PICTURES, or a temporary one."""
    named = os.environ.get("LLMLAB_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
