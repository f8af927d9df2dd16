"""Protocols in, tables and figures out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import yaml

from timelens.errors import UsageError
from timelens.run.validation.registry import Validation, judge_of
from timelens.run.validation.rows import COLUMNS
from timelens.study.contract import Protocol

__all__ = ["read_protocol", "write_validation"]


def read_protocol(path: str | Path) -> Protocol:
    """A protocol from a YAML file: ``lens`` (pet where nothing is said) and its parameters."""
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError("The protocol cannot be read", file=path, found=str(error).splitlines()[0]) from None
    if not isinstance(given, dict):
        raise UsageError("A protocol holds names and values", file=path, found=type(given).__name__)
    return Protocol(str(given.pop("lens", "pet")), given)


def write_validation(found: Validation, folder: str | Path) -> tuple[Path, ...]:
    """Write ``validation.csv``, ``validation.json`` and the figures; returns their paths."""
    from timelens.figures import write_png

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    table, facts = place / "validation.csv", place / "validation.json"
    with open(table, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in found.rows)
    protocol = {"lens": found.protocol.lens, **found.protocol.parameters}
    content = {"lens": found.lens, "protocol": protocol, "cases": found.cases, "seeds": found.seeds, "rows": found.rows}
    facts.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    pictures = [
        write_png(figure, place / f"{name}.png") for name, figure in judge_of(found.lens).figures(found.rows).items()
    ]
    return table, facts, *pictures
