"""What `PreferenceClicker` keeps, shows and says, without a page."""

import pytest

from llmlab.artifacts import LabError
from llmlab.stages.preferences import Click, read_clicks
from llmlab.widgets.preference_clicker import SHOWN, PreferenceClicker

DUELS = [
    ("I have rice.", "Rice Bowl: rice, kale, mint.", "Rice Pudding: rice, milk, sugar."),
    ("Give me a soup.", "Leek Soup: leeks, cream.", "Hot Soup: chile, beef, corn."),
    ("I have tofu.", "Tofu Pan: tofu, peas.", "Sweet Tofu: tofu, honey."),
]
REWARDS = [(1.0, -1.0), (0.2, 0.5), (0.4, 0.1)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "clicks.json"


def send(clicker, do: str, moves: int | None = None) -> None:
    """What the page sends."""
    moves = clicker._view["moves"] if moves is None else moves
    clicker._handle_custom_msg({"do": do, "moves": moves}, [])


def test_a_choice_is_kept_and_the_next_pair_comes(path):
    clicker = PreferenceClicker(DUELS, path)
    assert clicker._view["request"] == "I have rice." and clicker._view["place"] == 0
    assert clicker._view["answers"][1] == {
        "title": "Rice Pudding",
        "items": ["rice", "milk", "sugar"],
    }
    send(clicker, "left")
    assert clicker._view["place"] == 1 and clicker._view["request"] == "Give me a soup."
    assert read_clicks(path) == [Click(*DUELS[0], "left")] == clicker.clicks


def test_it_goes_on_where_it_was_left(path):
    first = PreferenceClicker(DUELS, path)
    first.choose("right")
    first.choose("neither")
    again = PreferenceClicker(DUELS, path)
    assert again._view["place"] == 2 and again.clicks == first.clicks
    other = PreferenceClicker([("I have eggs.", "A: eggs.", "B: eggs, ham.")], path)
    other.choose("left")  # earlier clicks on other pairs stay
    assert [c.choice for c in read_clicks(path)] == ["right", "neither", "left"]


def test_back_shows_the_choice_and_another_takes_its_place(path):
    clicker = PreferenceClicker(DUELS, path, REWARDS)
    clicker.choose("left")
    assert clicker._view["said"] == "1 of 3 decided; the reward model agrees with 1 of 1"
    send(clicker, "back")
    assert clicker._view["place"] == 0 and clicker._view["chosen"] == "left"
    send(clicker, "right")
    assert [c.choice for c in read_clicks(path)] == ["right"]
    assert clicker._view["said"] == "1 of 3 decided; the reward model agrees with 0 of 1"
    send(clicker, "back")
    send(clicker, "back")
    assert clicker._view["place"] == 0


def test_the_undecided_are_not_compared(path):
    clicker = PreferenceClicker(DUELS, path, REWARDS)
    for choice in ("left", "neither", "right"):
        clicker.choose(choice)
    assert clicker._view["said"] == "3 of 3 decided; the reward model agrees with 1 of 2"


def test_before_the_first_choice_the_reward_model_is_silent():
    assert "reward" not in PreferenceClicker(DUELS, None, REWARDS)._view["said"]


def test_a_message_about_a_pair_that_is_gone_does_nothing(path):
    clicker = PreferenceClicker(DUELS, path)
    moves = clicker._view["moves"]
    send(clicker, "left", moves)
    send(clicker, "left", moves)  # a double click
    assert clicker._view["place"] == 1 and len(clicker.clicks) == 1


def test_after_the_last_pair_there_is_nothing_to_choose(path):
    clicker = PreferenceClicker(DUELS, path)
    for _ in range(5):
        send(clicker, "left")
    assert clicker._view["place"] == 3 == clicker._view["all"] and len(clicker.clicks) == 3
    assert "answers" not in clicker._view
    send(clicker, "back")
    assert clicker._view["request"] == "I have tofu."


def test_unknown_choices_are_refused(path):
    clicker = PreferenceClicker(DUELS, path)
    with pytest.raises(ValueError, match="left, right, neither"):
        clicker.choose("both")
    assert not path.exists() and clicker._view["place"] == 0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="no pair"):
        PreferenceClicker([])
    with pytest.raises(ValueError, match="3 pairs of answers, but rewards for 1"):
        PreferenceClicker(DUELS, None, REWARDS[:1])


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"request": "a"}]', "[", "null",
    '[{"request": "a", "left": "b", "right": "c", "choice": "up"}]',
    '[{"request": "a", "left": 1, "right": "c", "choice": "left"}]'])  # fmt: skip
def test_a_file_of_something_else_is_left_alone(path, text):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(LabError, match="clicks.json"):
        PreferenceClicker(DUELS, path)
    assert path.read_text() == text


def test_on_a_full_disk_the_pair_stays_and_nothing_is_lost(small_disk):
    path = small_disk / "clicks.json"
    clicker = PreferenceClicker(DUELS, path)
    clicker.choose("left")
    (small_disk / "ballast").write_bytes(b"x" * (244 << 10))
    long = PreferenceClicker([("I have rice.", "A: " + "x" * 9000, "B: y.")], path)
    with pytest.raises(LabError):
        long.choose("left")
    assert long._view["place"] == 0 and read_clicks(path) == clicker.clicks == long.clicks


def test_the_static_picture_shows_the_newest_choices(path):
    duels = [(f"I have rice, {i}.", f"A {i}: rice.", f"B {i}: rice, mint.") for i in range(12)]
    clicker = PreferenceClicker(duels, path, [(0.0, 1.0)] * 12)
    html = clicker._repr_mimebundle_()[0]["text/html"]
    assert "0 of 12 decided" in html and "A 0: rice." in html and "✓" not in html
    for _ in range(11):
        clicker.choose("right")
    data = clicker._repr_mimebundle_()[0]
    html = data["text/html"]
    assert html.count("✓") == SHOWN and "B 10: rice, mint." in html and "B 2: rice" not in html
    assert "11 of 12 decided; the reward model agrees with 11 of 11" in data["text/plain"]
    assert "class=" not in html and "http" not in html
