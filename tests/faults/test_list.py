"""The faults that the classroom must bear, and the tests that show each: a list to be checked by.

Each line is an entry of the list; a test that is named here and is nowhere fails.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FAULTS = {
    "kill -9 in pretraining": "training/test_loop.py::a_run_killed_again_and_again",
    "kill -9 in SFT, reward, DPO, GRPO, PPO": "faults/test_kills.py::a_loop_killed_again_and_again",
    "kill -9 of the class's own GRPO": "slow/test_faults.py::the_classs_own_assistant_under_grpo",
    "kill -9 while a file is written": "test_artifacts.py::a_killed_writer_leaves_the_old_file",
    "kill -9 of a study": "test_study.py::a_killed_study_goes_on",
    "kill -9 of a fetch": "corpus/test_sources.py::a_killed_fetch_is_never_taken",
    "Ctrl-C in pretraining": "training/test_loop.py::an_interrupted_run_saves_and_goes_on",
    "Ctrl-C in every other loop": "faults/test_interrupts.py::a_loop_that_is_stopped_says_so",
    "Ctrl-C in a notebook's cell": "faults/test_interrupts.py::each_cell_that_trains_makes_its",
    "Ctrl-C twice": "faults/test_interrupts.py::who_presses_twice_loses_only",
    "Ctrl-C while the budget is measured": "faults/test_interrupts.py::a_stop_while_the_budget",
    "Ctrl-C in a command": "faults/test_interrupts.py::the_command_that_pretrains_ends_with_130",
    "Ctrl-C between stages": "faults/test_interrupts.py::the_command_that_runs_stages_does_not",
    "Ctrl-C in a study": "faults/test_interrupts.py::a_study_keeps_its_points_and_goes_on",
    "Ctrl-C while fetching": "faults/test_interrupts.py::fetching_that_is_stopped_leaves",
    "Ctrl-C while pip waits": "slow/test_faults.py::a_fetch_that_waits_for_ever_can_be_stopped",
    "the notebook's stop button": "slow/test_faults.py::the_stop_button_ends_each_loops_cell",
    "the stop button while models answer": "widgets/test_chat_panel.py::the_notebooks_stop_button",
    "checkpoints: cut": "test_artifacts.py::a_checkpoint_cut_anywhere_is_refused",
    "checkpoints: flipped": "test_artifacts.py::no_changed_byte_goes_unseen",
    "checkpoints: all damages, all doors": "faults/test_doors.py::a_bad_checkpoint_is_refused",
    "checkpoints: sample and export": "test_cli.py::a_damaged_checkpoint_is_refused",
    "checkpoints: those that ship": "faults/test_doors.py::a_shipped_checkpoint_that_is_damaged",
    "pickle renamed to safetensors": "test_artifacts.py::a_renamed_pickle_is_not_opened",
    "a log or file cut in mid-line": "faults/test_places.py::a_file_that_was_cut_is_named",
    "a report cut in mid-line": "faults/test_places.py::a_report_that_was_cut_is_set_aside",
    "a shipped log cut in mid-line": "faults/test_places.py::a_shipped_log_that_was_cut_is_named",
    "corrupt cache": "corpus/test_sources.py::a_damaged_cache_is_made_whole",
    "corrupt cache of tiktoken's": "stages/test_tokenization.py::a_damaged_file_of_tiktokens",
    "wrong hash": "corpus/test_sources.py::a_wrong_hash_is_refused_and_both_are_named",
    "no network": "corpus/test_sources.py::pip_that_finds_nothing_says_what_to_do",
    "no network: the house texts": "corpus/test_sources.py::without_a_network_the_house_texts",
    "a network that breaks off": "slow/test_faults.py::a_connection_that_breaks_off",
    "read-only folder": "faults/test_places.py::a_folder_that_only_can_be_read_is_said",
    "read-only runs are read": "faults/test_places.py::runs_that_only_can_be_read_are_read",
    "unreadable checkpoint and folder": "faults/test_places.py::a_checkpoint_and_a_folder_that",
    "full disk in a run": "training/test_loop.py::a_disk_that_fills_up_costs_only",
    "full disk beside a run": "faults/test_places.py::a_full_disk_keeps_what_was_there",
    "full disk in an export or a fetch": "corpus/test_sources.py::a_full_disk_leaves_nothing_half",
    "two notebooks, two runs": "faults/test_places.py::of_two_runs_in_one_place",
    "two machines, two runs": "faults/test_places.py::where_there_are_no_locks",
    "two notebooks, clicks": "faults/test_places.py::clicks_and_labels_of_two_notebooks",
    "two processes at once": "slow/test_faults.py::two_processes_that_write_one_run",
    "two and more fetch at once": "corpus/test_sources.py::many_fetch_at_once",
    "clock going back: runs": "faults/test_places.py::a_clock_that_goes_back_changes_no_run",
    "clock going back: budgets": "faults/test_places.py::a_clock_that_goes_back_changes_no_budget",
    "clock going back: progress": "faults/test_places.py::a_clock_that_goes_back_stops_no_progress",
    "not UTF-8, NUL, empty, a folder": "faults/test_words.py::a_text_that_is_none_is_refused",
    "white space without end": "faults/test_words.py::a_text_with_white_space_without_end",
    "a word without end": "corpus/test_long_runs.py::a_vocabulary_is_learned_from_the_beginning",
    "a byte order mark": "faults/test_words.py::a_byte_order_mark_is_no_part_of_a_text",
    "text that steers a terminal": "test_cli.py::no_text_steers_the_terminal",
    "a reader that goes away": "test_cli.py::a_reader_that_goes_away_costs_nothing",
    "a path that the locale cannot read": "test_cli.py::a_path_in_another_script_works",
    "a worker that is killed": "datasets/test_pretokenize.py::a_worker_that_is_killed_ends",
    "scores and texts that are none": "datasets/test_preference_pairs.py::a_row_with_what_is_no",
    "roles that nobody knows": "datasets/test_conversations.py::conversations_of_no_use",
    "files without rows": "datasets/test_hub_datasets.py::files_without_rows_are_said",
    "odd characters in a text": "faults/test_words.py::a_text_with_every_kind_of_character",
    "hostile words in 13 widgets": "faults/test_hostile_widgets.py::hostile_words_stay_words",
    "hostile words in a browser": "browser/test_chat_panel.py::hostile_requests_stay_text",
    "hostile words in the chat": "faults/test_words.py::the_chat_answers_whatever_is_typed",
    "a request without end": "faults/test_words.py::a_request_without_end_gets_a_sentence",
    "a terminal of another encoding": "faults/test_words.py::a_chat_on_a_terminal_of_another",
    "special tokens in a request": "faults/test_words.py::special_tokens_that_are_typed_stay_text",
    "wheel with ../ members": "corpus/test_sources.py::a_member_outside_its_folder_is_refused",
    "absurd settings of setup": "faults/test_settings.py::a_setting_that_makes_no_sense",
    "absurd environment": "faults/test_settings.py::the_environment_is_read_with_care",
    "LLMLAB_RUNS names a file": "faults/test_settings.py::runs_inside_a_file_are_refused",
    "absurd settings of commands": "faults/test_settings.py::a_command_says_it_and_exits_with_2",
    "temperature -1, NaN, inf": "faults/test_settings.py::a_temperature_that_is_none_is_refused",
    "temperature 0": "faults/test_settings.py::temperature_zero_takes_the_likeliest",
    "top-k -1, top-p 0 and 2": "faults/test_settings.py::a_slider_keeps_its_place",
    "context 1": "faults/test_settings.py::a_context_of_one_has_no_room_and_says_so",
    "a loss that blows up": "training/test_loop.py::a_run_that_blows_up_keeps_its_last",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_test_of_a_fault_is_there(fault):
    file, _, name = FAULTS[fault].partition("::")
    assert re.search(rf"^def test_{name}", (TESTS / file).read_text("utf-8"), re.MULTILINE)


def test_every_widget_and_every_loop_is_in_the_tables():
    from llmlab.profiles import LOOPS
    from tests.faults import lives, test_hostile_widgets

    ours = re.compile(r"^class (\w+)\((?:Widget|Box)\)", re.MULTILINE)
    modules = (TESTS.parent / "llmlab" / "widgets").glob("*.py")
    classes = {name for path in modules for name in ours.findall(path.read_text("utf-8"))}
    assert classes | {"CostCalculator"} == set(test_hostile_widgets.WIDGETS)
    assert set(LOOPS) == {"pretraining", *lives.LOOPS}
