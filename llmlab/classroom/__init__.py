"""The classroom: exercises, their checks, what was solved, and the student edition.

In a notebook:

    from llmlab.classroom import check
    check("02.merge", merge)  # prints ✓, or ✗ and a sentence that helps, or ○ for "not done yet"

In the check module of notebook 02, `checks/nb02_tokenization.py`, imported when it is asked for:

    @exercise("02.merge")
    def merge(answer):
        close(call(answer, torch.tensor([1.0, 2.0])), torch.tensor(1.5), "the mean")

`exercises` runs checks, `time_limit` stops what never ends, `compare` says in words what differs.
`progress` keeps what was done, `progress_report` shows it: to a learner, a class's to its teacher.
`student_edition` writes the notebooks without their solutions.
"""

from llmlab.classroom.compare import close, same
from llmlab.classroom.exercises import Wrong, call, check, exercise, verdict
from llmlab.classroom.progress_report import show_progress

__all__ = ["Wrong", "call", "check", "close", "exercise", "same", "show_progress", "verdict"]
