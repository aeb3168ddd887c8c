"""As tests/test_exam.py, with 50,000 examples of each training."""

from tests import test_exam
from tests.test_exam import made  # noqa: F401  (a fixture)


def test_fine_tuning_reads_no_held_out_request(made, monkeypatch):  # noqa: F811
    monkeypatch.setattr(test_exam, "N", 50_000)
    test_exam.test_fine_tuning_reads_no_held_out_request(made)


def test_pretraining_reads_no_held_out_request(made, monkeypatch):  # noqa: F811
    monkeypatch.setattr(test_exam, "N", 50_000)
    test_exam.test_pretraining_reads_no_held_out_request(made)
