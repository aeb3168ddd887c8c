"""What the project promises to whoever runs it, where a test can hold it.

No saved page and no widget loads anything from elsewhere, and what stands in HTML is escaped; what
a student runs needs no POSIX, no folder of one system, no default encoding of one; nothing is
unpickled or evaluated.  `test_server.py` has what is promised of the server.
"""

import ast
import functools
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llmlab import cli, device, lab
from llmlab.classroom.time_limit import TooLong, limited
from llmlab.stages import costs

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "llmlab").rglob("*.py"))
SCRIPTS = sorted((ROOT / "llmlab").rglob("*.js"))
SOURCES = sorted((ROOT / "notebooks" / "src").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*_*.ipynb"))


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """All nodes of a module's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


# --- What pages load ------------------------------------------------------------------------

ELSEWHERE = re.compile(r"(?:^|[\s('\"=,:])(?:(?:https?|wss?|ftp):)?//\w", re.I)
LOADERS = {"script", "iframe", "frame", "object", "embed", "link", "base", "meta", "form"}
WORDS = {"alt", "title", "aria-label"}


class Page(HTMLParser):
    """What a page's markup would load or run by itself, links to click left out."""

    def __init__(self, markup: str):
        super().__init__()
        self.found: list[str] = []
        self.inside = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        if tag in LOADERS:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or re.match(r"\s*javascript:", value or "", re.I):
                self.found.append(f"{name}={value}")
            elif not (name in WORDS or name.startswith("xmlns") or (tag, name) == ("a", "href")):
                self.look(value or "")

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.look(re.sub(r"/\*.*?\*/", "", data, flags=re.S))

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def look(self, value: str) -> None:
        """A value of an attribute, or a style; pictures inside it are pages of their own."""
        for kind, picture in re.findall(r"data:([\w/+.-]+);base64,([\w+/=]+)", value):
            if kind in ("image/svg+xml", "text/html"):
                self.found += Page(b64decode(picture).decode()).found
        rest = re.sub(r"data:[\w/+.-]+;base64,[\w+/=]+", "", value)
        self.found += ELSEWHERE.findall(rest) and [rest[:80]]


def pictured(markdown: str) -> list[str]:
    """What a text in Markdown would load."""
    pictures = re.findall(r"!\[[^\]]*\]\(\s*<?([^)\s>]+)", markdown)
    return [p for p in pictures if ELSEWHERE.match(p)] + Page(markdown).found


INERT = {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"}


def loads(cell: dict) -> Iterator[str]:
    """What a cell of a saved notebook would load."""
    if cell["cell_type"] == "markdown":
        yield from pictured("".join(cell["source"]))
    for output in cell.get("outputs", []):
        for kind, data in output.get("data", {}).items():
            if kind in ("text/html", "image/svg+xml"):
                yield from Page("".join(data)).found
            elif kind == "text/markdown":
                yield from pictured("".join(data))
            elif kind not in INERT:
                yield f"an output of the kind {kind}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_saved_notebook_loads_anything(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert [found for cell in cells for found in loads(cell)] == []


def test_no_page_that_is_made_of_a_notebook_loads_anything(build):
    notebook = build.read(next(path for path in NOTEBOOKS if path.stem == "00_map"))
    found = Page(build.to_html(notebook, "The map")).found
    assert set(found) <= {"<meta>"}  # the signs' encoding, the page's width


SVG = "data:image/svg+xml;base64,PHN2Zz48aW1hZ2UgaHJlZj0iLy9jZG4uZXhhbXBsZS94LnBuZyIvPjwvc3ZnPg=="
BAD = [
    '<img src="https://a.example/x.png">',
    '<p style="background:url(//a.example/x)">',
    "<style>@import 'http://a.example/x.css'</style>",
    '<b onclick="f()">',
    "<script>f()</script>",
    f'<img src="{SVG}">',
    '<a href="javascript:f()">',
    "![](https://a.example/x.png)",
]
GOOD = [
    '<a href="https://a.example">a</a>',
    "[a](https://a.example)",
    "see https://a.example",
    '<svg xmlns="http://www.w3.org/2000/svg"/>',
    '<img alt="a // b" src="data:,x">',
]


def test_the_search_finds_what_loads_and_nothing_else():
    assert [bad for bad in BAD if not pictured(bad)] == []
    assert [good for good in GOOD if pictured(good)] == []


SVG_NAME = "http://www.w3.org/2000/svg"  # a name, which nobody looks up
LOADING = re.compile(
    r"^\s*(?:import|export)\b(?! default)|\bimport\s*\(|\b(?:fetch|eval|importScripts)\s*\(|"
    r"\bnew (?:Function|Worker|WebSocket|EventSource|Image)\b|XMLHttpRequest|sendBeacon|"
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|srcdoc",
    re.M,
)


def test_the_search_in_scripts_finds_each_way_to_load():
    ways = ["import a from 'b'", "x = await import('b')", "e.innerHTML = a", "fetch(a)", "eval (a)"]
    assert all(map(LOADING.search, ways)) and not LOADING.search("export default { render };")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_no_widgets_script_loads_runs_or_parses_anything(path):
    script = path.read_text("utf-8").replace(SVG_NAME, "")
    assert LOADING.findall(script) == [] and "://" not in script


def test_no_widgets_module_names_another_machine():
    texts = [text for path in MODULES if path.parent.name == "widgets" for text in strings(path)]
    assert [text for text in texts if "://" in text.replace(SVG_NAME, "")] == []


def strings(path: Path) -> list[str]:
    constants = [node.value for node in nodes(path) if isinstance(node, ast.Constant)]
    return [value for value in constants if isinstance(value, str)]


def careless(markup: ast.JoinedStr) -> Iterator[str]:
    """What an f-string of HTML takes in as it is: a value of some object, or its `repr`.

    Numbers with a format, locals (made of such f-strings), our own constants and what a function
    of the module makes of a value are taken to be markup: `page.escape` is such a function.
    """
    for part in markup.values:
        if not isinstance(part, ast.FormattedValue) or part.format_spec:
            continue
        value, text = part.value, ast.unparse(part.value)
        of_object = isinstance(value, ast.Attribute | ast.Subscript) and not text[0].isupper()
        as_text = isinstance(value, ast.Call) and re.match(r"(?:repr|str|ascii|\w+\.\w+)\(", text)
        if of_object or as_text or part.conversion != -1:
            yield text


def test_what_stands_inside_html_goes_through_escape():
    """The widgets' own tests try hostile words; this looks for a place that they do not reach."""
    found = set()
    for path in MODULES:
        for node in (n for n in nodes(path) if isinstance(n, ast.JoinedStr)):
            words = "".join(v.value for v in node.values if isinstance(v, ast.Constant))
            if re.search(r"<[a-zA-Z/!]", words):
                found |= {(place(path), text) for text in careless(node)}
    assert found == {("llmlab/widgets/base.py", "h.rstrip('>')")}  # a table's heads are our own


def test_a_careless_place_would_be_found():
    bad = ["{self.title}", "{answer['text']}", "{repr(self)}", "{words!r}", "{words.strip()}"]
    good = [
        "{escape(self.title)}",
        "{words}",
        "{row.share:.1%}",
        "{COLOURS[1]}",
        "{''.join(parts)}",
    ]
    for field in bad + good:
        markup = ast.parse(f'f"""<b>{field}</b>"""').body[0].value
        assert bool(list(careless(markup))) == (field in bad), field


# --- What a student's machine need not be ---------------------------------------------------

POSIX = {
    "fork", "forkpty", "execv", "execve", "execvp", "getuid", "geteuid", "setsid", "killpg",
    "getpgid", "mkfifo", "chown", "sched_getaffinity", "sched_setaffinity", "getloadavg", "nice",
    "setitimer", "alarm", "pause", "SIGALRM", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGQUIT", "SIGSTOP",
    "symlink", "symlink_to", "hardlink_to", "link", "WNOHANG", "sysconf",
}  # fmt: skip
MODULES_OF_POSIX = {"resource", "fcntl", "pwd", "grp", "termios", "pty", "tty", "multiprocessing"}
FOLDER = re.compile(r"/(?:tmp|proc|dev|usr|etc|home|sys|var)\b")
PROGRAMS = {"make", "sh", "bash", "git", "curl", "wget", "tar", "unzip"}
# Where one is used all the same: only where the system has it, as the next test shows.
USED = {
    ("llmlab/classroom/time_limit.py", "SIGALRM"), ("llmlab/classroom/time_limit.py", "setitimer"),
    ("llmlab/cli.py", "resource"), ("llmlab/install.py", "execv"), ("llmlab/device.py", "/proc"),
    ("llmlab/device.py", "/sys"), ("llmlab/device.py", "sched_getaffinity"),
    ("llmlab/stages/costs.py", "sysconf"),
}  # fmt: skip


def of_one_system(path: Path) -> Iterator[str]:
    """The names, folders and programs in a module that not every system has."""
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and node.attr in POSIX:
            yield node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from MODULES_OF_POSIX.intersection(imported(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if folder := FOLDER.match(node.value):
                yield folder[0]
            elif node.value in PROGRAMS:
                yield node.value


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that a statement imports, without their packages' parts."""
    if isinstance(node, ast.ImportFrom):
        return [(node.module or "").split(".")[0]]
    return [alias.name.split(".")[0] for alias in node.names]


def test_what_a_student_runs_needs_no_system_of_its_own():
    found = {(place(path), name) for path in [*MODULES, *SOURCES] for name in of_one_system(path)}
    assert found == USED


def test_where_the_system_has_none_of_them_all_goes_on(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "resource", None)
    for module, name in ((signal, "setitimer"), (signal, "SIGALRM"), (os, "sched_getaffinity"),
                         (os, "sysconf")):  # fmt: skip
        monkeypatch.delattr(module, name, raising=False)
    assert cli.peak_mb() is None and device.cores(tmp_path / "none") == os.cpu_count()
    made = lab.setup("class-toy", runs_dir=tmp_path)
    assert costs.this_machine(made).memory > 1e9
    with pytest.raises(TooLong):
        limited(0.1, lambda: [None for _ in itertools.count()])
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert device.cpu_name().startswith("CPU x ")


def without_encoding(path: Path) -> Iterator[int]:
    """The lines of calls that would read or write text in whatever a system's encoding is."""
    for call in (node for node in nodes(path) if isinstance(node, ast.Call)):
        modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        plain = {
            "read_text": not call.args,
            "write_text": len(call.args) == 1,
            "open": not any("b" in str(mode) for mode in modes),
        }
        entry = name == "open" and isinstance(call.func, ast.Attribute) and len(call.args) == 2
        said = any(keyword.arg == "encoding" for keyword in call.keywords)
        if plain.get(name) and not said and not entry:  # an archive's entry is opened in bytes
            yield call.lineno


def test_text_is_read_and_written_in_utf_8_everywhere():
    files = [*MODULES, *SOURCES, ROOT / "notebooks" / "build.py"]
    assert [f"{place(path)}:{line}" for path in files for line in without_encoding(path)] == []


def kept() -> list[Path]:
    """The files that belong to the project, as git sees them."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in done.stdout.decode().split("\0") if (ROOT / name).is_file()]


clone = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone: git cannot list files")
RESERVED = re.compile(
    r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?|.*[<>:\"|?*\\\x00-\x1f].*|.*[ .]"
)


@clone
def test_windows_can_hold_each_file():
    names = [place(path) for path in kept()]
    assert len({name.lower() for name in names}) == len(names)
    assert [n for n in names if any(map(RESERVED.fullmatch, n.split("/"))) or len(n) > 120] == []


def test_a_console_that_knows_few_signs_shows_the_others_as_question_marks(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    assert cli.main(["progress"]) == 0
    console.flush()
    assert b"? attention" in console.buffer.getvalue()


# --- Nothing is unpickled or evaluated ------------------------------------------------------


@clone
def test_no_file_is_a_pickle():
    for path in kept():
        with open(path, "rb") as file:
            start = file.read(9)
        safe = path.suffix == ".safetensors" and start[8:] == b"{"
        assert safe or not re.match(rb"\x80[\x00-\x05]|PK\x03\x04|\x93NUMPY", start), path
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".npy", ".npz"}, path


def evaluating(path: Path) -> Iterator[str]:
    """Calls and imports by which a file or a text could become a running program."""
    modules = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "pandas"}
    calls = {"eval", "exec", "compile", "__import__", "torch.load", "np.load", "numpy.load"}
    for node in nodes(path):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from modules.intersection(imported(node))
        elif isinstance(node, ast.Call):
            yield from calls.intersection([ast.unparse(node.func)])


def test_no_module_unpickles_or_evaluates():
    found = {place(path): list(evaluating(path)) for path in MODULES}
    assert {path: calls for path, calls in found.items() if calls} == {}
