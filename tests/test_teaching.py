"""TEACHING.md and README.md say what is so: minutes, exercises, parts, commands, files."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmlab.cli import parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("TEACHING.md", "README.md")}
SOURCES = {path.stem[:2]: path for path in sorted((ROOT / "notebooks" / "src").glob("*.py"))}
AFTERNOON = 180  # minutes


@dataclass(frozen=True)
class Exercise:
    number: int
    must: bool
    name: str
    level: str
    minutes: int


# --- What the notebooks say -----------------------------------------------------------------


def parts(number: str) -> list[str | Exercise]:
    """The headings of a notebook's source and its exercises, in order, without the recap."""
    text, found = SOURCES[number].read_text("utf-8"), []
    heads = r"^# (?:## (?P<head>.+)|### Exercise (\d) · (must · )?(\S+) · (\d+) min)$"
    for match in re.finditer(heads, text, flags=re.M):
        if match["head"]:
            found.append(match["head"])
            continue
        n, must, level, minutes = match.groups()[1:]
        name = re.compile(r'^check\("(.+?)"', re.M).search(text, match.end())[1]
        found.append(Exercise(int(n), bool(must), name, level, int(minutes)))
    return [part for part in found if part != "Recap"]


def header(number: str, key: str) -> int:
    """A figure of a source's header: `minutes` or `budget_s`."""
    return int(re.search(rf"^#     {key}: (\d+)$", SOURCES[number].read_text("utf-8"), re.M)[1])


# --- What TEACHING.md says ------------------------------------------------------------------


def section(title: str) -> str:
    """What stands below a heading that begins so, up to the next one of its kind."""
    return re.search(rf"^## {title}.*?\n(.*?)(?=^## |\Z)", PAGES["TEACHING.md"], re.M | re.S)[1]


def tables(text: str) -> Iterator[list[list[str]]]:
    """The cells of each table, row by row, the head first."""
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
        yield [[cell.strip() for cell in row] for row in rows[:1] + rows[2:]]


def told(number: str) -> list[list[str]]:
    """The rows of a notebook's plan: parts or an exercise, minutes, level."""
    plans = [rows for head, *rows in tables(section(number)) if head[0] == "part"]
    return [row for rows in plans for row in rows]


def exercise(row: list[str]) -> Exercise | None:
    """The exercise that a row of a plan is about, where it is about one."""
    found = re.match(r"Exercise (\d), (must|on top): `(.+?)`, \S", row[0])
    return found and Exercise(int(found[1]), found[2] == "must", found[3], row[2], int(row[1]))


notebooks = pytest.mark.parametrize("number", SOURCES)


@notebooks
def test_each_part_and_each_exercise_is_told_as_the_notebook_has_it(number):
    said = [[exercise(row)] if exercise(row) else row[0].split(" · ") for row in told(number)]
    assert [part for row in said for part in row] == parts(number)
    assert {row[2] for row in told(number)} <= {"●○○", "●●○", "●●●"}


@notebooks
def test_the_parts_and_the_must_fill_the_notebooks_minutes(number):
    in_class = [row for row in told(number) if not exercise(row) or exercise(row).must]
    assert sum(int(row[1]) for row in in_class) == header(number, "minutes")


@notebooks
def test_mistakes_and_questions_stand_under_each_notebook(number):
    heads = [head[0] for head, *rows in tables(section(number)) if len(rows) >= 3]
    assert {"what goes wrong", "they ask"} <= set(heads)


def test_the_overview_adds_up():
    head, *rows, last = next(tables(PAGES["TEACHING.md"]))
    assert head[1:] == ["minutes", "on top", "in all", "computing, s"]
    sums = [0, 0, 0]
    for number, row in zip(SOURCES, rows, strict=True):
        title = re.search(r"^# # (\d\d [^:\n]+)", SOURCES[number].read_text("utf-8"), re.M)[1]
        assert row[0] == f"[{title}](notebooks/{SOURCES[number].stem}.ipynb)"
        free = [p.minutes for p in parts(number) if isinstance(p, Exercise) and not p.must]
        minutes = header(number, "minutes")
        figures = [minutes, sum(free), minutes + sum(free)]
        assert list(map(int, row[1:])) == [*figures, header(number, "budget_s")]
        sums = [a + b for a, b in zip(sums, figures, strict=True)]
    assert list(map(int, last[1:4])) == sums


def test_each_afternoon_fills_its_time_and_all_of_them_the_series():
    (_, *rows) = next(tables(section("Four afternoons")))
    assert len(rows) == 4
    spent = dict.fromkeys(SOURCES, 0)
    for _, way, whole in rows:
        stops = [re.fullmatch(r"(\D*?(?:\*\*(\d\d)\*\*.*?)?) (\d+)", s) for s in way.split(" · ")]
        assert sum(int(stop[3]) for stop in stops) == int(whole) == AFTERNOON
        for stop in stops:
            if stop[2]:
                spent[stop[2]] += int(stop[3])
    assert spent == {number: header(number, "minutes") for number in SOURCES}


def test_the_sittings_of_notebook_04_are_as_long_as_their_parts():
    first, second = (rows for head, *rows in tables(section("04")) if head[0] == "part")
    for name, rows in (("first", first), ("second", second)):
        minutes = sum(int(r[1]) for r in rows if not exercise(r) or exercise(r).must)
        assert f"{name.title()} sitting, {minutes} minutes" in section("04")
        assert f"**04** {name} sitting {minutes} · " in section("Four afternoons")


def test_45_minutes_are_45_and_a_term_has_every_notebook():
    (_, *rows) = next(tables(section("With 45 minutes only")))
    assert sum(int(minutes) for _, minutes in rows) == 45
    (_, *weeks) = next(tables(section("With a whole term")))
    assert [int(week) for week, *_ in weeks] == list(range(1, 13))
    assert sorted({notebook[:2] for _, notebook, _ in weeks}) == list(SOURCES)


def test_headings_that_are_named_elsewhere_are_those_of_the_notebooks():
    named = re.findall(r'^\| \d+ \| (\d\d) (?:up to|from) "(.+?)"', PAGES["TEACHING.md"], re.M)
    assert len(named) == 4
    assert all(title in parts(number) for number, title in named)


MAINTAINING = (ROOT / "docs" / "MAINTAINING.md").read_text("utf-8")


def test_each_file_that_maintainers_are_sent_to_is_there():
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+|[\w-]+\.[a-z]{2,})", MAINTAINING)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert len(named) > 40 and missing == []


def test_each_module_that_trains_or_is_shown_has_its_place_for_maintainers():
    """A stage or a folder that nobody is sent to is one that nobody finds."""
    folders = {path.parent.name for path in (ROOT / "llmlab").glob("*/__init__.py")}
    assert {name for name in folders if f"`llmlab/{name}" not in MAINTAINING} == set()


# --- Both pages -----------------------------------------------------------------------------

pages = pytest.mark.parametrize("name", PAGES)


@pages
def test_what_is_linked_is_there(name):
    links = re.findall(r"!?\[[^\]]*\]\(([^)#]+)", PAGES[name])
    outside = [link for link in links if "://" in link]
    missing = [link for link in links if link not in outside and not (ROOT / link).exists()]
    assert len(links) > 9 and missing == []


@pages
def test_each_command_is_one_that_the_program_takes(name, capsys):
    commands = re.findall(r"python3? -m llmlab ([^`\n]+)", PAGES[name])
    assert len(commands) > 5
    for command in commands:
        parser().parse_args(shlex.split(command, comments=True))  # SystemExit where it is none


@pages
def test_each_target_of_make_is_there(name):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    code = re.findall(r"```.*?```|`[^`\n]+`", PAGES[name], re.S)
    asked = set(re.findall(r"(?:`|^)make ([a-z-]+)", "\n".join(code), re.M))
    assert asked and asked <= targets


def test_readme_shows_three_pictures_of_notebooks_with_words_for_those_who_cannot_see_them():
    shown = re.findall(r"!\[([^\]]+)\]\((docs/pictures/[\w-]+\.png)\)", PAGES["README.md"])
    assert len(shown) == 3
    for words, path in shown:
        assert len(words) > 20
        data = (ROOT / path).read_bytes()
        assert data.startswith(b"\x89PNG") and len(data) < 1_000_000
