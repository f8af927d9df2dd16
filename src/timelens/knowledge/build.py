"""Checks the data files of the knowledge base and compiles them: ``python -m timelens.knowledge.build [--check]``.

Every field is validated, every pointer must lead somewhere, no two agents may share a name. The result is
``data/compiled.json``, the same bytes for the same data, which is kept under version control; a test checks that it is
current. pydantic and YAML are needed here and nowhere else.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from timelens.errors import DataError, Problem
from timelens.knowledge import quantities, schema
from timelens.knowledge.load import VERSION, loose
from timelens.knowledge.names import index, keys
from timelens.knowledge.spelling import nuclide, read

__all__ = ["Sources", "check", "compile_text", "main", "read_sources"]

DATA = Path(__file__).parent / "data"
M = TypeVar("M", bound=BaseModel)
_LISTS = {"citation": int, "species": str}


class Sources(BaseModel):
    """All records, as the data files have them."""

    components: list[schema.Component] = []
    targets: list[schema.Target] = []
    agents: list[schema.Agent] = []
    radionuclides: list[schema.Radionuclide] = []
    modalities: list[schema.Modality] = []
    interventions: list[schema.Intervention] = []
    evidence: list[schema.Evidence] = []
    codes: list[dict[str, str]] = []


def _rows(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as stream:
            return [{key: value for key, value in row.items() if value} for row in csv.DictReader(stream)]
    try:
        rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError("A data file is not YAML", file=file.name, found=str(error)) from error
    if not isinstance(rows, list):
        raise DataError("A data file is a list of records", file=file.name, expected="records that begin with '- id:'")
    return rows


def _records(model: type[M], file: Path, problems: list[Problem]) -> Iterator[M]:
    for row in _rows(file):
        for name, kind in _LISTS.items():
            if file.suffix == ".csv" and name in row:
                row[name] = [kind(each.strip()) for each in row[name].split(";")]
        try:
            yield model.model_validate(row)
        except ValidationError as error:
            for each in error.errors():
                where = ".".join(map(str, (row.get("id", "?"), *each["loc"])))
                problems.append(
                    Problem(each["msg"], file.name, where, str(each["input"])[:120], mend="see schema.py for the field")
                )


def read_sources(folder: Path = DATA) -> Sources:
    """All data files of a folder, validated.

    Raises
    ------
    DataError
        If any record is not as ``schema.py`` says; the message names every slip.
    """
    problems: list[Problem] = []

    def yaml_of(model: type[M], name: str) -> list[M]:
        return list(_records(model, folder / f"{name}.yaml", problems))

    sources = Sources(
        components=yaml_of(schema.Component, "components"),
        targets=yaml_of(schema.Target, "targets"),
        agents=[
            agent
            for file in sorted((folder / "agents").glob("*.yaml"))
            for agent in _records(schema.Agent, file, problems)
        ],
        radionuclides=yaml_of(schema.Radionuclide, "radionuclides"),
        modalities=yaml_of(schema.Modality, "modalities"),
        interventions=yaml_of(schema.Intervention, "interventions"),
        evidence=list(_records(schema.Evidence, folder / "evidence.csv", problems)),
        codes=_rows(folder / "dicom_codes.csv"),
    )
    _refuse(problems)
    return sources


def _refuse(problems: list[Problem]) -> None:
    if problems:
        text = "\n".join(str(problem) for problem in problems)
        raise DataError(f"The knowledge base has {len(problems)} slips:\n{text}", file="knowledge/data")


_POINTERS = {
    "parent": "components",
    "components": "components",
    "targets": "targets",
    "agents": "agents",
    "modalities": "modalities",
    "uses": "modalities",
    "parts": "modalities",
    "evidence": "evidence",
}


def check(sources: Sources) -> list[Problem]:
    """What contradicts itself across records: doubled ids, pointers that lead nowhere, evidence nobody uses, names."""
    problems: list[Problem] = []
    kinds = ("components", "targets", "agents", "radionuclides", "modalities", "interventions", "evidence")
    ids: dict[str, set[str]] = {}
    for kind in kinds:
        ids[kind] = set()
        for record in getattr(sources, kind):
            if record.id in ids[kind]:
                problems.append(Problem("Two records have one id", kind, record.id))
            ids[kind].add(record.id)
    used: set[str] = set()
    known = set(quantities.names())
    for kind in kinds:
        for record in getattr(sources, kind):
            for name, aim in _POINTERS.items():
                value = getattr(record, name, None) or ()
                for pointer in (value,) if isinstance(value, str) else value:
                    if pointer not in ids[aim]:
                        problems.append(Problem(f"No such record among {aim}", kind, f"{record.id}.{name}", pointer))
                    if aim == "evidence":
                        used.add(pointer)
            problems += [
                Problem("No such quantity in the vocabulary", kind, f"{record.id}.quantities", quantity)
                for quantity in getattr(record, "quantities", ())
                if quantity not in known
            ]
    problems += [
        Problem("No record points to this evidence", "evidence.csv", row) for row in sorted(ids["evidence"] - used)
    ]
    problems += _cycles(sources) + _names(sources, ids["radionuclides"])
    return problems


def _cycles(sources: Sources) -> list[Problem]:
    parents = {component.id: component.parent for component in sources.components}
    problems = []
    for start in parents:
        seen, here = {start}, parents[start]
        while here is not None and here not in seen:
            seen.add(here)
            here = parents.get(here)
        if here == start:
            problems.append(Problem("A component is its own ancestor", "components.yaml", start))
    return problems


def _keys(agent: schema.Agent) -> tuple[set[str], set[str]]:
    return keys((agent.name, *agent.synonyms), agent.vectors, agent.chelators, agent.nuclides)


def _names(sources: Sources, nuclides: set[str]) -> list[Problem]:
    problems = []
    for agent in sources.agents:
        problems += [
            Problem("No such radionuclide", "agents", f"{agent.id}.nuclides", label)
            for label in agent.nuclides
            if label not in nuclides and not {"fluorine-19", "none"} & set(agent.labels)
        ]
        for name in (agent.name, *agent.synonyms):
            said = read(name).nuclides
            if agent.nuclides and said and not set(said) & set(agent.nuclides):
                problems.append(
                    Problem("A name says another nuclide", "agents", f"{agent.id}.synonyms", name, str(agent.nuclides))
                )
    exact, _ = index({agent.id: _keys(agent) for agent in sources.agents})
    by_pair: dict[tuple[str, ...], str] = {}
    for key, owners in exact.items():
        if len(owners) > 1:
            by_pair.setdefault(tuple(owners), key)
    problems += [
        Problem(
            "Several agents bear one name",
            "agents",
            ", ".join(owners),
            key,
            mend="keep the name with the one that it means; under 'vectors' it makes candidates only",
        )
        for owners, key in by_pair.items()
    ]
    return problems


def _compact(record: BaseModel) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_defaults=True)


def _table(rows: list[Any], *names: str) -> dict[str, Any]:
    """Rows by id, with an index of loose names; a name of several records leads to all of them."""
    rows = sorted(rows, key=lambda row: row.id)
    found: dict[str, list[str]] = {}
    for row in rows:
        said = {row.id, row.name, *(each for name in names for each in getattr(row, name))}
        for key in sorted({loose(text) for text in said}):
            found.setdefault(key, []).append(row.id)
    own = {loose(row.id): row.id for row in rows}
    names_of = {key: [own[key]] if key in own else ids for key, ids in sorted(found.items())}
    return {"rows": [_compact(row) for row in rows], "names": names_of}


def _nuclide_table(rows: list[schema.Radionuclide]) -> dict[str, Any]:
    # In the order of the file: PET, then SPECT, then therapy.
    return {
        "rows": [_compact(row) for row in rows],
        "names": {loose(text): [row.id] for row in rows for text in (row.id, row.name, *row.synonyms)},
    }


def _codes(sources: Sources, exact: dict[str, list[str]]) -> list[list[Any]]:
    """Codes with what they are about: the nuclide, or the agent of which the meaning is a name."""
    rows: list[list[Any]] = []
    for row in sources.codes:
        if row["kind"] == "nuclide":
            about = nuclide(row["meaning"]) or ""
        else:
            spelling = read(row["meaning"])
            label = spelling.nuclides[0] if len(spelling.nuclides) == 1 else ""
            owners = {owner for core in spelling.cores for owner in exact.get(f"{label}|{core}", [])}
            about = owners.pop() if len(owners) == 1 else ""
        prefix = "nuclide:" if row["kind"] == "nuclide" else "agent:"
        rows.append([row["scheme"], row["value"], row["meaning"], prefix + about, int(row["cid"])])
        if srt := row.get("srt"):
            rows.append(["SRT", srt, row["meaning"], prefix + about, int(row["cid"])])
    return rows


def compile_text(sources: Sources) -> str:
    """The compiled knowledge base as text, one record a line.

    Raises
    ------
    DataError
        If records contradict each other.
    """
    _refuse(check(sources))
    exact, vectors = index({agent.id: _keys(agent) for agent in sources.agents})
    data = {
        "version": VERSION,
        "components": _table(sources.components, "synonyms"),
        "targets": _table(sources.targets, "synonyms", "symbols"),
        "agents": _table(sources.agents, "synonyms"),
        "radionuclides": _nuclide_table(sources.radionuclides),
        "modalities": _table(sources.modalities, "synonyms"),
        "interventions": _table(sources.interventions, "synonyms"),
        "evidence": [_compact(row) for row in sorted(sources.evidence, key=lambda row: row.id)],
        "codes": _codes(sources, exact),
        "exact": exact,
        "vectors": vectors,
    }
    return _dump(data) + "\n"


def _dump(value: Any, depth: int = 0) -> str:
    """JSON with one record a line, so that a difference shows what changed."""
    if isinstance(value, dict) and depth < 2:
        rows = [f"{json.dumps(key)}:{_dump(each, depth + 1)}" for key, each in value.items()]
        return "{" + ",\n".join(rows) + "}"
    if isinstance(value, list) and depth < 3:
        return "[" + ",\n".join(_dump(each, 3) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main(arguments: list[str] | None = None) -> int:
    """Compile, or with ``--check`` only say whether the compiled file is current; 1 if it is not or data are wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    aim = DATA / "compiled.json"
    try:
        text = compile_text(read_sources())
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if "--check" in given:
        current = aim.is_file() and aim.read_text(encoding="utf-8") == text
        sys.stdout.write(f"{aim.name} is {'current' if current else 'not current'}\n")
        return 0 if current else 1
    aim.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{aim.name}: {len(text) // 1024} KiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
