"""Errors carry their facts as data, through text, pickles and processes."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from timelens import errors
from timelens.errors import (
    DataError,
    FormatError,
    GeometryError,
    MissingDependencyError,
    MissingFieldError,
    PlausibilityWarning,
    Problem,
    TimelensError,
    UnitError,
    UnsafeFileError,
    UsageError,
)

KINDS = [
    TimelensError,
    DataError,
    MissingFieldError,
    FormatError,
    UnsafeFileError,
    UnitError,
    GeometryError,
    UsageError,
]
FACTS = {"file": "a.dcm", "field": "Units", "found": "CNTS", "expected": "BQML", "mend": "convert it first"}


def test_a_message_alone_is_a_sentence():
    assert str(DataError("It is broken")) == "It is broken."
    assert str(DataError("It is broken.")) == "It is broken."
    assert DataError("It is broken").problem == Problem("It is broken")


@pytest.mark.parametrize("kind", KINDS)
def test_all_facts_are_shown_and_kept(kind: type[TimelensError]):
    error = kind("No factor", **FACTS)
    assert str(error) == ("No factor. File: a.dcm. Field: Units. Found: CNTS. Expected: BQML. Mend: convert it first.")
    assert error.problem.as_dict() == {"message": "No factor", **FACTS, "severity": "error"}
    assert error.args == ("No factor",)


def test_facts_may_be_any_value():
    problem = DataError("Sizes differ", found=(3, 4), expected=[1], file=None).problem
    assert (problem.found, problem.expected, problem.file) == ("(3, 4)", "[1]", "None")


@pytest.mark.parametrize("kind", KINDS)
def test_pickling_keeps_kind_and_facts(kind: type[TimelensError]):
    error = kind("No factor", **FACTS)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.problem == error.problem
    assert str(again) == str(error)


def test_an_error_with_its_own_arguments_is_pickled_too():
    error = MissingDependencyError("psycopg", purpose="A PostgreSQL ledger", extra="postgres")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MissingDependencyError
    assert str(again) == (
        "A PostgreSQL ledger needs the package 'psycopg', which is not installed. Expected: psycopg. "
        "Mend: pip install 'timelens[postgres]'."
    )


def refuse() -> None:
    raise UnitError("No factor", **FACTS)


def test_errors_cross_processes():
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        raised = pool.submit(refuse).exception()
    assert isinstance(raised, UnitError)
    assert raised.problem == UnitError("No factor", **FACTS).problem


def test_a_place_is_filled_in_where_it_was_not_known():
    error = UnitError("No factor", field="Units")
    placed = error.at(file="a.dcm", field="elsewhere")
    assert type(placed) is UnitError
    assert (placed.problem.file, placed.problem.field) == ("a.dcm", "Units")
    assert error.problem.file == ""
    assert placed.at(file="b.dcm").problem.file == "a.dcm"


def test_exit_codes_tell_bad_data_from_wrong_use():
    assert {kind.exit_code for kind in KINDS if not issubclass(kind, UsageError)} == {1}
    assert UsageError.exit_code == MissingDependencyError.exit_code == 2


def test_whoever_catches_the_base_catches_all():
    named = [getattr(errors, name) for name in errors.__all__]
    kinds = [k for k in named if isinstance(k, type) and issubclass(k, Exception) and not issubclass(k, Warning)]
    assert all(issubclass(kind, TimelensError) for kind in kinds)
    assert not issubclass(PlausibilityWarning, TimelensError)
    assert issubclass(PlausibilityWarning, UserWarning)


def test_a_warning_is_a_problem_too():
    problem = Problem("The weight is 20 g", field="PatientWeight", severity="warning")
    assert str(problem) == "The weight is 20 g. Field: PatientWeight."
    assert problem.as_dict()["severity"] == "warning"
