"""Before the rules: text out of web pages and wikitext, its language, its personal data.

Notebook 01b builds each of these by hand.  They are small on purpose: what a crawl is read with
(trafilatura, mwparserfromhell, fastText) does the same with many more cases.
"""

import html
import ipaddress
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

import regex

from llmlab import artifacts
from llmlab.corpus.corpus import lead_paragraphs
from llmlab.corpus.filters import PRIVATE
from llmlab.corpus.sources import source_path

# --- HTML --------------------------------------------------------------------------------------

SKIPPED = {"script", "style", "head", "nav", "header", "footer", "aside", "button"}
BLOCKS = {
    "p", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "br", "tr", "table", "main", "article",
    "section", *SKIPPED,
}  # fmt: skip


@dataclass
class PageBlock:
    """A line of a page: its text, and how many of its characters stand inside links."""

    text: str = ""
    linked: int = 0

    @property
    def link_density(self) -> float:
        """Share of the characters inside links, 0 to 1.  Kohlschütter et al. 2010 count words."""
        return self.linked / max(1, len(self.text))


class _Reader(HTMLParser):
    """Collects the blocks of a page; what stands in a skipped element is left out.

    Which elements are open is a set, not a stack: pages that forget to close them are common.
    """

    def __init__(self, skipped: set[str]):
        super().__init__()
        self.skipped, self.open, self.blocks = skipped, set(), [PageBlock()]

    def handle_starttag(self, tag, attrs):
        self.open.add(tag)
        if tag in BLOCKS:
            self.blocks.append(PageBlock())

    def handle_endtag(self, tag):
        self.open.discard(tag)
        if tag in BLOCKS:
            self.blocks.append(PageBlock())

    def handle_data(self, data):
        if not self.open & self.skipped:
            words = regex.sub(r"\s+", " ", data)
            self.blocks[-1].text += words
            self.blocks[-1].linked += len(words) if "a" in self.open else 0

    def close(self):
        """The end of the page: a comment or tag that is never closed is dropped, as by browsers."""
        if regex.match(r"<[a-zA-Z/!?]", self.rawdata):
            self.rawdata = ""
        super().close()


def html_blocks(page: str, skipped: set[str] = SKIPPED) -> list[PageBlock]:
    """The blocks of a page that hold any text, in order."""
    reader = _Reader(skipped)
    reader.feed(page)
    reader.close()
    return [block for block in reader.blocks if block.text.strip()]


def html_text(page: str, most_links: float = 1.0, skipped: set[str] = SKIPPED) -> str:
    """A page as plain lines, without the blocks of which a larger share than `most_links` is links.

    A skipped element that is never closed hides the rest of its page.
    """
    kept = [b for b in html_blocks(page, skipped) if b.link_density <= most_links]
    return "\n".join(" ".join(block.text.split()) for block in kept)


def word_overlap(kept: str, wanted: str) -> tuple[float, float]:
    """Precision and recall of a text, word by word: the share of its words that were wanted, and
    the share of the wanted ones that it has; a word counts as often as it stands there."""
    kept, wanted = Counter(kept.split()), Counter(wanted.split())
    shared = (kept & wanted).total()
    return shared / max(1, kept.total()), shared / max(1, wanted.total())


# --- Wikitext ----------------------------------------------------------------------------------

# What is replaced, in this order: a picture's caption may hold links.
LINES = (
    (r"(?s)<!--.*?(?:-->|\Z)", ""),
    (r"(?s)<ref[^>/]*/>|<ref.*?</ref>", ""),
    (r"(?s)\{\|.*?\|\}\n?", ""),
    (r"\[\[(?!File:|Image:|Category:)(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]", r"\1"),
    (r"\[\[(?:File|Image|Category):[^\[\]]*\]\]\n?", ""),
    (r"\[https?://\S+ ([^\]]*)\]", r"\1"),
    (r"'{2,}", ""),
    (r"(?m)^=+ *(.*?) *=+$", r"\1"),
    (r"(?m)^[*#:;]+ *", "- "),
    (r"<[^<>]+>", ""),
)
TEMPLATE = r"\{\{([^{}]*)\}\}"


def wiki_text(source: str, templates: Mapping[str, str] | None = None) -> str:
    """Wikitext as plain text: marks go, words stay.

    templates: name -> what it leaves, such as {"convert": "{1} {2}"}, with its nameless parameters
    counted from 1.  Every other template leaves nothing: that is where the holes come from.
    """
    templates = templates or {}

    def leaves(match: regex.Match) -> str:
        name, *parts = (part.strip() for part in match[1].split("|"))
        nameless = [part for part in parts if "=" not in part]
        return templates.get(name.lower(), "").format(name, *nameless, *[""] * 9)

    left = None
    while left != source:
        left, source = source, regex.sub(TEMPLATE, leaves, source)
    for pattern, new in LINES:
        source = regex.sub(pattern, new, source)
    return html.unescape(source).strip()


# --- Languages ---------------------------------------------------------------------------------

LEADS = {"English": "en-us", "French": "fr-fr", "Spanish": "es-es"}


def read_languages() -> dict[str, list[str]]:
    """Language -> leads of the encyclopedia in it; where it cannot be had, our own in English."""
    folder = source_path("encyclopedia")
    if folder is None:
        return {"English": lead_paragraphs(artifacts.data_dir() / "house" / "encyclopedia.json")}
    files = {language: f"summaries_{code}.json" for language, code in LEADS.items()}
    return {language: lead_paragraphs(next(folder.rglob(name))) for language, name in files.items()}


def trigrams(text: str) -> list[bytes]:
    """All runs of three bytes of a text in lower case, with a space before and after it."""
    data = f" {' '.join(text.lower().split())} ".encode("utf-8", "replace")
    return [data[i : i + 3] for i in range(len(data) - 2)]


class Languages:
    """Which language a text is in: naive Bayes over byte trigrams.  Dunning 1994.

    texts: language -> texts that are in it.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]]):
        self.counts = {
            language: Counter(run for text in own for run in trigrams(text))
            for language, own in texts.items()
        }
        self.totals = {language: counts.total() for language, counts in self.counts.items()}
        self.kinds = len(set().union(*self.counts.values()))

    def score(self, text: str, language: str) -> float:
        """log P(text | language); each trigram counts as seen half a time more than it was."""
        counts, size = self.counts[language], self.totals[language] + self.kinds / 2
        return sum(math.log((counts[run] + 0.5) / size) for run in trigrams(text))

    def guess(self, text: str) -> str:
        """The language in which the text is most likely."""
        return max(self.counts, key=lambda language: self.score(text, language))


# --- Personal data -----------------------------------------------------------------------------


def luhn(number: str) -> bool:
    """Whether the last digit of a card's number fits the others (Luhn 1960; ISO/IEC 7812-1).

    One invented number in ten passes.
    """
    digits = [int(d) for d in number if d.isdigit()][::-1]
    doubled = [sum(divmod(2 * d, 10)) for d in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def plausible(kind: str, found: str) -> bool:
    """Whether something that looks like personal data can be real: a card's number passes Luhn's
    check, an IP address exists and is a public one; nothing is known of the other kinds."""
    if kind == "card":
        return luhn(found)
    if kind == "ip":
        try:
            return ipaddress.ip_address(found).is_global
        except ValueError:
            return False
    return True


def private_data(text: str, checked: bool = False) -> list[tuple[str, str]]:
    """What looks like personal data: (kind, words), by the patterns that `filters.mask_private`
    uses; checked: only what is plausible."""
    found = [(k, match[0]) for k, p in PRIVATE.items() for match in regex.finditer(p, text)]
    return [(kind, words) for kind, words in found if not checked or plausible(kind, words)]
