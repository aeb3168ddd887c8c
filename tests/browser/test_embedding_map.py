"""`EmbeddingMap` as a learner meets it."""

import re

import pytest

MAKE = """
import torch
from llmlab.widgets.embedding_map import EmbeddingMap

torch.manual_seed(0)
GROUPS = {"fruit": "lemon lime orange apple pear plum cherry fig date grape",
          "herb": "basil mint thyme sage dill parsley chives oregano",
          "meat": "beef pork lamb veal ham bacon turkey duck goose",
          "<b>sauce</b>": "ketchup mustard <script>window.hacked=1</script> pesto"}
names = [name for line in GROUPS.values() for name in line.split()]
groups = [group for group, line in GROUPS.items() for name in line.split()]
centres = torch.randn(4, 16)[[list(GROUPS).index(group) for group in groups]]
noise = torch.randn(len(names), 16)
snapshots = {step: share * centres + noise for step, share in ((1, 0), (100, 0.7), (7000, 2))}
emap = EmbeddingMap(snapshots, names, groups, "Kitchen <i>words</i>",
                    analogies=[("lemon", "lime", "basil", "mint")])
emap
"""
EXTREMES = """
by_height = sorted(names, key=lambda name: emap._frames[-1]["xy"][names.index(name)][1])
by_side = sorted(names, key=lambda name: emap._frames[-1]["xy"][names.index(name)][0])
print(by_height[0], by_height[-1], by_side[0], by_side[-1], sep=";")
"""


@pytest.fixture
def page(jupyter):
    """A notebook with a map, all cells run."""
    page = jupyter.show("map.ipynb", ".ll-map .ll-point", MAKE)
    page.wait_for_timeout(200)  # the output has found its size
    return page


def emap(page):
    return page.locator(".jp-OutputArea-output .ll-map")


def names(page, section: str = "neighbours") -> list[str]:
    return emap(page).locator(f"section[aria-label={section}] .ll-name").all_inner_texts()


def place(page, name: str) -> tuple[float, float]:
    """Of a point, in the map's own pixels; its number is that of its label."""
    return page.evaluate(
        """name => {
          const texts = [...document.querySelectorAll('.ll-body > svg > g:last-child text')];
          const number = texts.findIndex(text => text.textContent === name);
          const point = document.querySelectorAll('.ll-body .ll-point')[number];
          return point.getAttribute('transform').match(/-?[\\d.]+/g).map(Number);
        }""",
        name,
    )


def on_screen(page, name: str) -> tuple[float, float]:
    box, (x, y) = emap(page).locator(".ll-body > svg").bounding_box(), place(page, name)
    return box["x"] + x * box["width"] / 640, box["y"] + y * box["height"] / 560


def wait_for_neighbours(page, of: str) -> None:
    page.wait_for_function(
        "of => document.querySelector('.ll-map section h5')?.textContent === `Nearest to ${of}`",
        arg=of,
    )


def test_the_map_is_neither_mirrored_nor_upside_down(jupyter, page):
    told = jupyter.execute(page, EXTREMES).strip().split(";")
    low, high, left, right = [place(page, name) for name in told]
    assert low[1] - high[1] > 300 and right[0] - left[0] > 300


def test_a_click_shows_neighbours_and_lines(page):
    page.mouse.click(*on_screen(page, "lemon"))
    wait_for_neighbours(page, "lemon")
    near = names(page)
    assert len(near) == 8 and "lemon" not in near
    assert set(near) <= set("lime orange apple pear plum cherry fig date grape".split())
    assert emap(page).locator(".ll-link").count() == 8
    numbers = emap(page).locator("section .ll-number").all_inner_texts()
    assert numbers == sorted(numbers, reverse=True) and 0 < float(numbers[0]) <= 1
    emap(page).locator("section .ll-name").first.click()
    wait_for_neighbours(page, near[0])


def test_the_map_by_keyboard(page):
    svg = emap(page).locator(".ll-body > svg")
    emap(page).get_by_role("button", name="<b>sauce</b>").focus()
    page.keyboard.press("Tab")
    assert svg.evaluate("svg => document.activeElement === svg")
    page.keyboard.press("ArrowRight")
    first = emap(page).locator(".ll-status").inner_text().split(" · ")[0]
    page.keyboard.press("ArrowRight")
    second = emap(page).locator(".ll-status").inner_text().split(" · ")[0]
    assert place(page, second)[0] > place(page, first)[0]
    page.keyboard.press("ArrowDown")
    third = emap(page).locator(".ll-status").inner_text().split(" · ")[0]
    assert place(page, third)[1] > place(page, second)[1]
    page.keyboard.press("Enter")
    wait_for_neighbours(page, third)
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('.ll-map section li')")


def test_search_lights_up_and_chooses(page):
    search = emap(page).get_by_label("find a word")
    search.press_sequentially("le")
    assert emap(page).locator(".ll-status").inner_text() == "3 of 31 contain what you typed"
    assert emap(page).locator('.ll-body .ll-point[opacity="1"]').count() == 3
    search.press("Enter")
    wait_for_neighbours(page, "lemon")
    assert search.input_value() == ""
    search.press_sequentially("zzz")
    search.press("Enter")
    assert emap(page).locator(".ll-status").inner_text() == "0 of 31 contain what you typed"
    suggestions = page.locator(f"datalist#{search.get_attribute('list')} option")
    assert suggestions.count() == 31


def test_the_legend_filters(page):
    herb = emap(page).get_by_role("button", name="herb")
    herb.click()
    assert herb.get_attribute("aria-pressed") == "true"
    faint = emap(page).locator('.ll-body .ll-point[opacity="0.12"]')
    assert faint.count() == 31 - 8
    page.mouse.click(*on_screen(page, "goose"))
    page.wait_for_timeout(300)
    assert names(page) == []  # what is filtered out cannot be clicked
    emap(page).get_by_role("button", name="all", exact=True).click()
    assert faint.count() == 0


def test_points_move_with_the_steps(jupyter, page):
    end = place(page, "lemon")
    slider = emap(page).get_by_label("training step")
    slider.focus()
    slider.press("Home")
    page.wait_for_function(
        "() => document.querySelector('.ll-map output').value.startsWith('step 1 ')"
    )
    page.wait_for_timeout(100)
    between = place(page, "lemon")
    page.wait_for_timeout(900)
    begin = place(page, "lemon")
    assert begin != end and between not in (begin, end)
    emap(page).get_by_role("button", name="play").click()
    page.wait_for_function(
        "() => document.querySelector('.ll-map output').value.startsWith('step 7,000')"
    )
    emap(page).get_by_role("button", name="play").wait_for()
    page.wait_for_timeout(900)
    assert place(page, "lemon") == end


def test_neighbours_follow_the_step(page):
    page.mouse.click(*on_screen(page, "lemon"))
    wait_for_neighbours(page, "lemon")
    trained = names(page)
    emap(page).get_by_label("training step").press("Home")
    page.wait_for_function("() => !document.querySelector('.ll-map .ll-waits')")
    page.wait_for_timeout(200)
    assert names(page) != trained


def test_arithmetic_shows_ranks_given_words_and_failures(page):
    emap(page).get_by_role("button", name="lemon − lime + basil").click()
    page.wait_for_selector(".ll-map section[aria-label=answer] li")
    answer = emap(page).locator("section[aria-label=answer]")
    assert "lemon − lime + basil is nearest to" in answer.inner_text()
    assert "basil (given)" in names(page, "answer")
    assert re.search(r"mint, hoped for, is number \d+ of 31\.", answer.inner_text())
    assert emap(page).locator(".ll-arrow").count() == 2
    first = emap(page).get_by_label("a", exact=True)
    first.fill("unicorn <b>")
    first.press("Enter")
    page.wait_for_function(
        "() => document.querySelector('.ll-map section[aria-label=answer]').innerText"
        " === 'Not on the map: unicorn <b>.'"
    )


def test_dark_and_light(jupyter, page, pictures):
    page.mouse.click(*on_screen(page, "lemon"))
    wait_for_neighbours(page, "lemon")
    parts = ["h4", "button", "input", "output", ".ll-name", ".ll-about", ".ll-status"]
    jupyter.check_looks(page, ".ll-map", parts, pictures / "embedding-map")
