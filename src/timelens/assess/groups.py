"""Groups of patients compared: every quantity by arm, response or any other label, with the patient as the unit.

Rows of one quantity, component and kind of region are one comparison in each session. A patient may have several values
(regions of a slide, lesions): for the permutation test they become their mean, in the mixed model they are values of
one random intercept. Numbers that could not be had are left out, and how many patients that takes from each group is
said, since it may be no accident. Adjusted p-values are over all comparisons of one modality, session and pair of
groups; the many pairs of neighbouring types are a family of their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations

import numpy as np

from timelens.engines.statistics import benjamini_hochberg, permutation_test, random_intercept
from timelens.errors import Problem, UsageError
from timelens.study.measurement import Measurement

__all__ = [
    "COLUMNS", "GROUP_COLUMNS", "Comparison", "Value", "changes_of", "compare", "groups_of", "values_of",
]  # fmt: skip

#: Columns of participants.tsv that are taken for groups where none is named, the first with several groups.
GROUP_COLUMNS = ("group", "arm", "response", "responder")
#: Quantities of all pairs of types: hundreds of comparisons, which would drown the others.
PAIRWISE = ("interaction_z", "interaction_ratio")
_MOST_GROUPS = 6
_NOTHING = ("", "n/a", "nan", "none", "unknown", "?")
_METHOD = "difference and interval: random intercept per patient, REML; p: permutation of labels over patients"


@dataclass(frozen=True)
class Value:
    """One number of one patient.

    Attributes
    ----------
    subject, session
        Whose and when.
    modality, agent, target, component, region, quantity, unit
        What it is of; ``region`` is the kind of region (``lesion`` for ``lesion-03``).
    value
        NaN where it could not be had.
    """

    subject: str
    session: str
    modality: str
    agent: str
    target: str
    component: str
    region: str
    quantity: str
    unit: str
    value: float

    @property
    def what(self) -> tuple[str, ...]:
        """Everything but whose it is and how much: values of one comparison share it."""
        return (self.session, self.modality, self.agent, self.target, self.component, self.region, self.quantity,
                self.unit)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Two groups in one quantity.

    Attributes
    ----------
    first, second
        Names of the groups; differences are second minus first.
    patients_first, patients_second
        Patients with a value.
    missing_first, missing_second
        Patients of the group who were measured in this session but have no number here.
    values_first, values_second
        Values of those patients.
    mean_first, mean_second, difference, standard_error, lower, upper, level
        Of the mixed model.
    between, within
        Standard deviations between and within patients.
    p_value
        Of the permutation test; ``exact`` says whether all deals were gone through.
    p_mixed
        Of the mixed model.
    q_value
        ``p_value`` adjusted by Benjamini and Hochberg within its family.
    flags, reason
        Remarks, and why there is no test.
    """

    session: str
    modality: str
    agent: str
    target: str
    component: str
    region: str
    quantity: str
    unit: str
    first: str
    second: str
    patients_first: int = 0
    patients_second: int = 0
    missing_first: int = 0
    missing_second: int = 0
    values_first: int = 0
    values_second: int = 0
    mean_first: float = math.nan
    mean_second: float = math.nan
    difference: float = math.nan
    standard_error: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    level: float = math.nan
    between: float = math.nan
    within: float = math.nan
    p_value: float = math.nan
    exact: str = ""
    p_mixed: float = math.nan
    q_value: float = math.nan
    flags: str = ""
    reason: str = ""
    method: str = _METHOD

    @property
    def what(self) -> tuple[str, ...]:
        """As :attr:`Value.what`."""
        return (self.session, self.modality, self.agent, self.target, self.component, self.region, self.quantity,
                self.unit)  # fmt: skip


#: Columns of a table of comparisons.
COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Comparison))


def values_of(rows: Iterable[Measurement]) -> list[Value]:
    """The values of measurements; corrected rows go, and of a series of frames the last one stays."""
    listed = list(rows)
    replaced = {r.supersedes for r in listed} - {""}
    last: dict[tuple[str, ...], Measurement] = {}
    for row in listed:
        if row.id in replaced:
            continue
        place = (row.subject, row.session, row.acquisition, row.modality, row.agent, row.target, row.component,
                 row.region, row.quantity, row.unit)  # fmt: skip
        before = last.get(place)
        if before is None or not row.time_s < before.time_s:
            last[place] = row
    return [
        Value(r.subject, r.session, r.modality, r.agent, r.target, r.component, kind_of_region(r.region), r.quantity,
              r.unit, r.value)
        for r in last.values()
    ]  # fmt: skip


def changes_of(values: Iterable[Value]) -> list[Value]:
    """How much each subject has changed since the first session: one value per later session.

    The first session is that of the study in which the modality was measured, the same for all subjects. The subject's
    mean over its regions of one kind in the later session, less that in the first; NaN where one of them could not be
    had, nothing where the subject was not measured in both.

    Parameters
    ----------
    values
        Of any sessions; their names sort by time, numbers in them by size (``ses-2`` before ``ses-10``).
    """
    own: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for value in values:
        own.setdefault((value.subject, *value.what[1:]), {}).setdefault(value.session, []).append(value.value)
    firsts: dict[str, str] = {}
    for (_, modality, *_), sessions in own.items():
        firsts[modality] = min((*sessions, firsts.get(modality, next(iter(sessions)))), key=_by_time)
    found = []
    for (subject, *rest), sessions in own.items():
        modality, agent, target, component, region, quantity, unit = rest
        if (first := firsts[modality]) not in sessions:
            continue
        for later in sorted(set(sessions) - {first}, key=_by_time):
            change = _mean(sessions[later]) - _mean(sessions[first])
            found.append(Value(subject, f"{later} minus {first}", modality, agent, target, component, region, quantity,
                               unit, change))  # fmt: skip
    return found


def _by_time(session: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", session)]


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return sum(known) / len(known) if known else math.nan


def kind_of_region(region: str) -> str:
    """What a region is, without its number: regions of one kind are values of one patient.

    >>> kind_of_region("lesion-03"), kind_of_region("masks-12_section"), kind_of_region("liver")
    ('lesion', 'masks_section', 'liver')
    """
    return re.sub(r"-\d+(?=_|$)", "", region)


def groups_of(
    participants: Mapping[str, Mapping[str, object]], by: str | None = None
) -> tuple[str, dict[str, str], list[Problem]]:
    """Group of each subject from the traits of participants.

    Parameters
    ----------
    participants
        Subject to traits, as ``participants.tsv`` has them.
    by
        The trait; where None, the first of :data:`GROUP_COLUMNS` with two to six groups.

    Returns
    -------
    by, groups, problems
        The trait (empty where none fits), subject to group, and subjects without one.

    Raises
    ------
    UsageError
        If the named trait is none, or there is but one group.
    """
    traits = list(dict.fromkeys(t for own in participants.values() for t in own))
    if by is not None and by not in traits:
        raise UsageError("Participants have no such trait", file="participants.tsv", field="groups: by", found=by,
                         expected=", ".join(traits) or "a column beside participant_id")  # fmt: skip
    for trait in (by,) if by is not None else GROUP_COLUMNS:
        said = {s: str(own.get(trait, "")).strip() for s, own in participants.items()}
        groups = {s: g for s, g in said.items() if g.lower() not in _NOTHING}
        number = len(set(groups.values()))
        if by is None and not 2 <= number <= _MOST_GROUPS:
            continue
        if not 2 <= number <= _MOST_GROUPS:
            raise UsageError("The trait does not part patients into groups", file="participants.tsv",
                             field=f"groups: by {trait}", found=f"{number} different values",
                             expected=f"2 to {_MOST_GROUPS}")  # fmt: skip
        lacking = sorted(set(said) - set(groups))
        problems = [
            Problem("Subjects without a group are left out of the comparison", "participants.tsv", trait,
                    ", ".join(lacking[:12]) + (" ..." if len(lacking) > 12 else ""), "a group for every subject",
                    "write it into participants.tsv", "warning")
        ]  # fmt: skip
        return trait, groups, problems if lacking else []
    return "", {}, []


def compare(
    values: Iterable[Value],
    groups: Mapping[str, str],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    deals: int = 9999,
) -> list[Comparison]:
    """Compare every pair of groups in everything that was measured.

    Parameters
    ----------
    values
        Of any subjects; those without a group are left out.
    groups
        Subject to group.
    rng
        For permutation where there are too many ways for all of them.
    level
        Of the intervals.
    deals
        Random permutations.

    Returns
    -------
    list of Comparison
        In the order of the values; a comparison that could not be made has a reason.
    """
    sets: dict[tuple[str, ...], list[Value]] = {}
    there: dict[tuple[str, str], set[str]] = {}
    for value in values:
        if value.subject in groups:
            sets.setdefault(value.what, []).append(value)
            there.setdefault((value.session, value.modality), set()).add(value.subject)
    found: list[Comparison] = []
    for first, second in combinations(sorted(set(groups.values())), 2):
        mine = [
            _described(what, own, groups, first, second, there[what[0], what[1]], level) for what, own in sets.items()
        ]
        mine = _permuted(mine, sets, groups, rng, deals)
        found += _adjusted(mine)
    return found


def _described(
    what: tuple[str, ...],
    own: Sequence[Value],
    groups: Mapping[str, str],
    first: str,
    second: str,
    there: set[str],
    level: float,
) -> Comparison:
    """Numbers, means, difference and interval."""
    pair = (first, second)
    known = [v for v in own if math.isfinite(v.value) and groups[v.subject] in pair]
    patients = [len({v.subject for v in known if groups[v.subject] == g}) for g in pair]
    asked = [len([s for s in there if groups[s] == g]) for g in pair]
    missing = [a - p for a, p in zip(asked, patients, strict=True)]
    number = [sum(groups[v.subject] == g for v in known) for g in pair]
    session, modality, agent, target, component, region, quantity, unit = what
    row = Comparison(
        session, modality, agent, target, component, region, quantity, unit, first, second, level=level,
        patients_first=patients[0], patients_second=patients[1], missing_first=missing[0], missing_second=missing[1],
        values_first=number[0], values_second=number[1],
    )  # fmt: skip
    flags = [f"no number from {m} of {a} patients of {g}"
             for g, m, a in zip(pair, missing, asked, strict=True) if m and a]  # fmt: skip
    if not min(patients):
        lacking = " and ".join(g for g, p in zip(pair, patients, strict=True) if not p)
        return replace(row, flags="; ".join(flags), reason=f"no number from any patient of {lacking}")
    fit = random_intercept([v.value for v in known], [v.subject for v in known],
                           [pair.index(groups[v.subject]) for v in known])  # fmt: skip
    apart = fit.difference(1, level=level)
    row = replace(row, mean_first=float(fit.mean[0]), mean_second=float(fit.mean[1]), difference=apart.value)
    if min(patients) < 2:
        few = " and ".join(g for g, p in zip(pair, patients, strict=True) if p < 2)
        return replace(row, flags="; ".join(flags), reason=f"a number from one patient alone of {few}")
    if np.ptp([v.value for v in known]) == 0:
        return replace(row, flags="; ".join(flags), reason="all values are equal")
    return replace(row, standard_error=apart.standard_error, lower=apart.lower, upper=apart.upper,
                   p_mixed=apart.p_value, between=fit.between, within=fit.within, flags="; ".join(flags))  # fmt: skip


def _permuted(
    rows: Sequence[Comparison],
    sets: Mapping[tuple[str, ...], Sequence[Value]],
    groups: Mapping[str, str],
    rng: np.random.Generator,
    deals: int,
) -> list[Comparison]:
    """Add permutation tests; comparisons of the same patients are dealt together."""
    together: dict[tuple[str, ...], list[tuple[int, dict[str, float]]]] = {}
    for place, row in enumerate(rows):
        if row.reason:
            continue
        pair = (row.first, row.second)
        by_patient: dict[str, list[float]] = {}
        for value in sets[row.what]:
            if math.isfinite(value.value) and groups[value.subject] in pair:
                by_patient.setdefault(value.subject, []).append(value.value)
        means = {s: float(np.mean(v)) for s, v in sorted(by_patient.items())}
        together.setdefault(tuple(means), []).append((place, means))
    done = list(rows)
    for patients, members in together.items():
        second = np.array([groups[s] == rows[members[0][0]].second for s in patients])
        test = permutation_test(np.column_stack([list(m.values()) for _, m in members]), second, rng, deals=deals)
        few = f"with so few patients p is {test.least:.2g} or more" if test.least > 0.05 else ""
        for column, (place, _) in enumerate(members):
            row = done[place]
            done[place] = replace(
                row, p_value=float(test.p_value[column]), flags="; ".join(f for f in (row.flags, few) if f),
                exact="all permutations" if test.exact else f"{test.deals} permutations",
            )  # fmt: skip
    return done


def _adjusted(rows: Sequence[Comparison]) -> list[Comparison]:
    families: dict[tuple[str, str, bool], list[int]] = {}
    for place, row in enumerate(rows):
        families.setdefault((row.session, row.modality, row.quantity in PAIRWISE), []).append(place)
    done = list(rows)
    for places in families.values():
        q = benjamini_hochberg([rows[p].p_value for p in places])
        for place, one in zip(places, q, strict=True):
            done[place] = replace(done[place], q_value=float(one))
    return done
