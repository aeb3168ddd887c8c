"""Text out of web pages and wikitext, its language, its personal data; 01b without datatrove."""

import ast
import html
import json
import math
import random
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlab.artifacts import data_dir
from llmlab.corpus import extraction, filters

ROOT = Path(__file__).resolve().parents[2]
OWN = json.loads((data_dir() / "house" / "dirt.json").read_text("utf-8"))["other languages"]


# --- HTML -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", sorted(extraction.SKIPPED))
def test_a_skipped_element_is_left_out_with_all_that_is_in_it(tag):
    page = f"<p>Soup</p><{tag}>no <b>not</b> this</{tag}><p>with bread</p>"
    assert extraction.html_text(page) == "Soup\nwith bread"


def test_script_and_style_are_no_markup():
    page = '<script>if (a < 2 && b > 1) { write("<p>no</p>") }</script><style>p > b {}</style>Soup'
    assert extraction.html_text(page) == "Soup"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("no tag at all", "no tag at all"),
        ("<ul><li>3 leeks<li>4 potatoes</ul>", "3 leeks\n4 potatoes"),
        ("<p>Mash it,<br>and eat</p>", "Mash it,\nand eat"),
        ("<p>Fry <a href='/b'>butter</a>, then\n   <b>stir</b>.</p>", "Fry butter, then stir."),
        ("<p>salt &amp; pepper, 180&nbsp;&deg;C &#x2014; hot</p>", "salt & pepper, 180 °C — hot"),
        ("</nav></p>a stray end", "a stray end"),
        ("<!-- <p>no</p> --><p>Soup</p>", "Soup"),
        ("<p>Soup</p><!-- a comment that is never closed <p>hides the rest</p>", "Soup"),
        ("<p>Soup</p><p>Bread<a href='never closed", "Soup\nBread"),
        ("<p>Soup</p><!doctype", "Soup"),
        ("<script><!-- never closed </script><p>Soup</p>", "Soup"),
        ("<p>2 < 3, and 1 <", "2 < 3, and 1 <"),
        ("<P>Soup</P><NAV>no</NAV><p>Bread</p>", "Soup\nBread"),
        ("<p>Soup</p><nav>an element that is never closed<p>hides the rest", "Soup"),
        ("<div><div>deep</div></div>", "deep"),
    ],
)
def test_lines_of_a_page(page, text):
    assert extraction.html_text(page) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60))
def test_whatever_a_paragraph_says_comes_out_again(words):
    page = f"<nav>Home</nav><p>{html.escape(words)}</p>"
    assert extraction.html_text(page).split() == words.split()


@given(st.text(st.sampled_from("<>/ab= \"'!-&;#x"), max_size=60))
def test_no_page_is_so_broken_that_it_stops_the_crawl(page):
    assert isinstance(extraction.html_text(page), str)


def test_link_density_is_the_share_of_the_characters_in_links():
    half, none, whole = extraction.html_blocks(
        "<li><a href='/'>salt</a> and</li><li>leeks</li><li><a>oil</a></li>"
    )
    assert (half.text, half.linked, half.link_density) == ("salt and", 4, 0.5)
    assert (none.link_density, whole.link_density) == (0, 1)
    assert extraction.PageBlock().link_density == 0


def test_blocks_go_whose_share_of_links_is_larger_than_the_limit():
    page = "<li><a href='/'>salt</a> and</li><li>leeks</li><li><a>oil</a></li>"
    assert extraction.html_text(page, most_links=0.5) == "salt and\nleeks"
    assert extraction.html_text(page, most_links=0.49) == "leeks"
    assert extraction.html_text(page) == "salt and\nleeks\noil"


def test_what_is_skipped_can_be_chosen():
    assert extraction.html_text("<nav>Menu</nav><p>Soup</p>", skipped=set()) == "Menu\nSoup"
    assert extraction.html_text("<p>Soup</p><table>1</table>", skipped={"table"}) == "Soup"


@pytest.mark.parametrize(
    ("kept", "wanted", "marks"),
    [
        ("a b", "a b", (1, 1)),
        ("a b c d", "a b", (0.5, 1)),
        ("a", "a b", (1, 0.5)),
        ("a a a a", "a a b b", (0.5, 0.5)),
        ("c", "a", (0, 0)),
        ("", "a", (0, 0)),
        ("a", "", (0, 0)),
    ],
)
def test_overlap_counts_a_word_as_often_as_it_stands_there(kept, wanted, marks):
    assert extraction.word_overlap(kept, wanted) == marks


# --- Wikitext -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("[[Leek|leeks]] and [[salt]]s", "leeks and salts"),
        ("[https://example.org/a the stock] here", "the stock here"),
        ("'''Leek''' ''soup''", "Leek soup"),
        ("== Leek soup ==\nEat.", "Leek soup\nEat."),
        ("=== Deep ===", "Deep"),
        ("* salt\n** fine salt\n# stir", "- salt\n- fine salt\n- stir"),
        ("soup<ref>Anon {{cite|x}}</ref>, hot<ref name=a />.", "soup, hot."),
        ("soup<ref name=a>one</ref> and<ref>two</ref> bread", "soup and bread"),
        ("soup<!-- not\nthis --> hot", "soup hot"),
        ("{| class=x\n! a !! b\n|-\n| 1 || 2\n|}\nafter", "after"),
        ("[[File:A.jpg|thumb|A bowl of [[soup]]]]\nafter", "after"),
        ("[[File format]] and [[:Category:Soups|soups]]", "File format and soups"),
        ("[[Category:Soups]]\nafter", "after"),
        ("salt &amp; pepper<br/> hot <small>now</small>", "salt & pepper hot now"),
        ("(; {{audio|a.ogg}})", "(; )"),
        ("{{outer|{{inner|1}}|2}}after", "after"),
        ("{{never closed", "{{never closed"),
        ("soup<!-- never closed\nhot", "soup"),
        ("", ""),
    ],
)  # fmt: skip
def test_marks_go_and_words_stay(source, text):
    assert extraction.wiki_text(source) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{convert|350|F}}", "350 °F"),
        ("{{Convert | 350 | F | abbr=on}}", "350 °F"),
        ("{{convert|abbr=on|350|F}}", "350 °F"),
        ("{{convert|350}}", "350 °"),
        ("{{convert|{{frac|1|2}}|cup}}", "1/2 °cup"),
        ("{{unknown|350}}", ""),
    ],
)
def test_a_known_template_leaves_its_words(source, text):
    assert extraction.wiki_text(source, {"convert": "{1} °{2}", "frac": "{1}/{2}"}) == text.strip()


# --- Languages ------------------------------------------------------------------------------


def test_trigrams_are_of_bytes_and_see_where_words_begin():
    assert extraction.trigrams("Ab") == [b" ab", b"ab "]
    assert extraction.trigrams("a\n B") == extraction.trigrams("A b")
    assert extraction.trigrams("é") == [" é".encode(), "é ".encode()]
    assert extraction.trigrams("") == []
    assert extraction.trigrams("\ud800") == extraction.trigrams("?")


def test_a_score_is_what_counting_by_hand_gives():
    """German: " aa", "aaa", "aa "; Italian: " bb", "bb ": five kinds, half a time added to each."""
    model = extraction.Languages({"German": ["aaa"], "Italian": ["bb"]})
    assert model.score("aaa", "German") == pytest.approx(3 * math.log(1.5 / 5.5))
    assert model.score("aaa", "Italian") == pytest.approx(3 * math.log(0.5 / 4.5))
    assert model.score("", "German") == 0
    assert model.guess("aaa") == "German"
    assert model.guess("BB") == "Italian"


def test_sentences_that_were_not_learned_are_recognised():
    right = Counter()
    for i in range(8):
        model = extraction.Languages({name: own[:i] + own[i + 1 :] for name, own in OWN.items()})
        right.update(name for name, own in OWN.items() if model.guess(own[i]) == name)
    assert min(right[name] for name in OWN) >= 7


def test_languages_are_the_encyclopedias_or_else_our_own_english(monkeypatch, tmp_path, capsys):
    leads = extraction.read_languages()
    assert set(leads) in ({"English", "French", "Spanish"}, {"English"})
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path))
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    monkeypatch.delenv("LLMLAB_WHEELS", raising=False)
    ours = extraction.read_languages()
    assert list(ours) == ["English"] and len(ours["English"]) > 5
    assert "encyclopedia" in capsys.readouterr().out


# --- Personal data --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["4111 1111 1111 1111", "79927398713", "0", "5500-0000-0000-0004"]
)
def test_published_examples_pass_luhns_check(number):
    assert extraction.luhn(number)


def test_luhns_check_sees_each_single_wrong_digit():
    number = "4111111111111111"
    for i, digit in enumerate(number):
        for other in set(string.digits) - {digit}:
            assert not extraction.luhn(number[:i] + other + number[i + 1 :])


def test_one_invented_number_in_ten_passes():
    rng = random.Random(1)
    passed = sum(extraction.luhn(str(rng.randrange(10**15, 10**16))) for _ in range(5000))
    assert 420 < passed < 580


@pytest.mark.parametrize(
    ("kind", "words", "so"),
    [
        ("card", "4111 1111 1111 1111", True),
        ("card", "4111 1111 1111 1112", False),
        ("ip", "8.8.8.8", True),
        ("ip", "192.0.2.7", False),
        ("ip", "10.0.0.1", False),
        ("ip", "999.1.1.1", False),
        ("email", "ada@example.org", True),
        ("phone", "(555) 555-0142", True),
    ],
)
def test_plausible(kind, words, so):
    assert extraction.plausible(kind, words) is so


def test_what_is_found_is_what_would_be_masked():
    text = (
        "Ask ada@example.org or (555) 555-0142, card 4000 1234 5678 9010, from 8.8.8.8 or 10.0.0.1."
    )
    found = extraction.private_data(text)
    masked = text
    for kind, words in found:
        masked = masked.replace(words, f"<{kind}>")
    assert masked == filters.mask_private(text)
    assert Counter(kind for kind, _ in found) == {"email": 1, "phone": 1, "card": 1, "ip": 2}
    assert [words for _, words in extraction.private_data(text, checked=True)] == [
        "ada@example.org", "(555) 555-0142", "8.8.8.8",
    ]  # fmt: skip
    assert extraction.private_data("Ada Quill lives in Mill Lane.") == []


# --- The notebook ---------------------------------------------------------------------------


def imports(node: ast.AST) -> set[str]:
    """The modules that are imported anywhere in it."""
    found = list(ast.walk(node))
    names = {alias.name for n in found if isinstance(n, ast.Import) for alias in n.names}
    return names | {n.module for n in found if isinstance(n, ast.ImportFrom)}


def test_the_notebook_runs_without_datatrove(build):
    """Each cell that imports it does so under `if trove:`, and so does each that uses a job."""
    cells = build.source_cells(ROOT / "notebooks" / "src" / "extra" / "01b_pipeline.py")
    codes = [re.sub(r"(?m)^( *)%", r"\1pass #", code) for kind, code, _ in cells if kind == "code"]
    free, under, defined = [], set(), set()
    for node in (node for code in codes for node in ast.parse(code).body):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "trove":
            under |= imports(node)
            defined |= {n.name for n in node.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
        else:
            free.append(node)
    assert "datatrove.executor" in under and {"Rules", "run_job"} <= defined
    for node in free:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        assert not any(name.startswith("datatrove") for name in imports(node))
        assert not names & defined, ast.unparse(node)
