"""Groups of patients in a folder of results: ``groups.csv``, and the values of each patient behind it."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timelens.assess.groups import COLUMNS, Comparison, Value, changes_of, compare, groups_of, values_of
from timelens.errors import Problem, UsageError
from timelens.run.files import POOLED
from timelens.study.export import read_csv, write_table
from timelens.study.measurement import Measurement
from timelens.study.provenance import DEFAULT_SEED

__all__ = ["GROUPS_FILE", "VALUES_FILE", "compare_results", "group_options", "write_groups"]

GROUPS_FILE, VALUES_FILE = "groups.csv", "groups_values.csv"
_VALUE_COLUMNS = ("session", "modality", "agent", "target", "component", "region", "quantity", "unit", "subject",
                  "group", "value", "values")  # fmt: skip
#: Fewest contacts that chance would give, for a ratio that is more than noise.
_LEAST_EXPECTED = 5.0
#: Tables of interactions; the name of a set of cells stands in front, its number is not part of what is compared.
_INTERACTIONS = re.compile(r"^cytometry/.*_desc-(.*?)\d*[iI]nteractions_table\.tsv$")


def group_options(options: Mapping[str, Any]) -> str | None:
    """The trait that the study's option ``groups`` names; None where it leaves the choice, empty for no comparison.

    Raises
    ------
    UsageError
        If the option says anything else.
    """
    stated = options.get("groups")
    if stated is None:
        return None
    if stated is False or stated == "none":
        return ""
    if not isinstance(stated, Mapping) or set(stated) != {"by"} or not isinstance(stated["by"], str):
        raise UsageError("Groups are named by a trait of participants", field="groups", found=stated,
                         expected="{by: TRAIT}, or none")  # fmt: skip
    return str(stated["by"])


def write_groups(
    out: Path,
    measurements: Iterable[Measurement],
    participants: Mapping[str, Mapping[str, object]],
    records: Mapping[tuple[str, str], Mapping[str, Any]],
    by: str | None,
) -> tuple[list[Comparison], list[Problem]]:
    """Compare the groups of a study and write both tables; where there are none, older tables go.

    Parameters
    ----------
    out
        Folder of results.
    measurements
        Rows of all sessions.
    participants
        Subject to traits.
    records
        ``session.json`` of each subject and session, which says where tables of interactions stand.
    by
        The trait; None for the first that fits, empty for none.
    """
    trait, groups, problems = groups_of(participants, by) if by != "" else ("", {}, [])
    for name in (GROUPS_FILE, VALUES_FILE):
        (out / name).unlink(missing_ok=True)
    if not groups:
        return [], []
    # What all regions give together says nothing that the regions themselves do not.
    single = [m for m in measurements if not m.acquisition.endswith(POOLED)]
    values = [*values_of(single), *_interactions(out, records)]
    values += changes_of(values)
    found = compare(values, groups, np.random.default_rng(DEFAULT_SEED))
    if not found:
        return [], problems
    write_table(out / GROUPS_FILE, ("by", *COLUMNS), ({"by": trait, **vars(c)} for c in found))
    write_table(out / VALUES_FILE, _VALUE_COLUMNS, _means(values, groups))
    return found, problems


def compare_results(out: Path, by: str | None = None) -> tuple[list[Comparison], list[Problem]]:
    """Compare groups in a folder of results that is there already.

    Parameters
    ----------
    out
        The folder.
    by
        A column of its ``participants.tsv``; None for the first that fits.

    Raises
    ------
    UsageError
        If it is no folder of results, or the column does not part subjects into groups.
    """
    if not (out / "measurements.csv").is_file() or not (out / "participants.tsv").is_file():
        raise UsageError("This is no folder of results", file=out, expected="a folder that 'timelens run' wrote")
    with (out / "participants.tsv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter="\t"))
    people = {r["participant_id"]: {k: v for k, v in r.items() if k != "participant_id"} for r in lines}
    records = {}
    for subject in people:
        for path in sorted((out / subject).glob("*/session.json")):
            records[subject, path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
    found, problems = write_groups(out, read_csv(out / "measurements.csv"), people, records, by)
    if not found:
        traits = ", ".join(dict.fromkeys(t for own in people.values() for t in own))
        raise UsageError("The participants form no groups", file=out / "participants.tsv", found=traits or "no traits",
                         expected="a column with two to six different values", mend="name it with --by")  # fmt: skip
    return found, problems


def _interactions(out: Path, records: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[Value]:
    """Neighbours against chance, pair by pair: standard score, and the ratio of contacts, which sizes do not move."""
    for (subject, session), record in records.items():
        for name in record.get("outputs", ()):
            if (match := _INTERACTIONS.search(name)) is None or f"{POOLED}_" in name:
                continue
            region = f"{match[1]}_section" if match[1] else "section"
            with (out / subject / session / name).open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream, delimiter="\t"):
                    if "unknown" in (row["from"], row["to"]):
                        continue
                    where = (subject, session, "cytometry", "", "", f"{row['from']}|{row['to']}", region)
                    count, expected, z = (_number(row[k]) for k in ("count", "expected", "z"))
                    yield Value(*where, "interaction_z", "1", z)
                    known = expected >= _LEAST_EXPECTED
                    yield Value(*where, "interaction_ratio", "1", count / expected if known else math.nan)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _means(values: Sequence[Value], groups: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """One row per patient and comparison: the mean of the patient's values."""
    own: dict[tuple[tuple[str, ...], str], list[float]] = {}
    for value in values:
        if value.subject in groups and math.isfinite(value.value):
            own.setdefault((value.what, value.subject), []).append(value.value)
    for (what, subject), numbers in own.items():
        yield dict(zip(_VALUE_COLUMNS, (*what, subject, groups[subject], float(np.mean(numbers)), len(numbers)),
                       strict=True))  # fmt: skip
