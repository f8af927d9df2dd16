"""DICOM codes of radionuclides and radiopharmaceuticals, read and written.

The codes are those of DICOM PS3.16, CID 4020 and 18 (nuclides), 4021 and 25 (agents). Files carry SNOMED CT codes (SCT)
since 2018 and the older SNOMED RT codes (SRT, in some files called SNM3 or 99SDM) before; both are understood.
"""

from __future__ import annotations

from functools import lru_cache

from timelens.knowledge.load import Code, store

__all__ = ["agent", "agent_code", "meaning", "nuclide", "nuclide_code"]

_SCHEMES = {"SRT": "SRT", "SNM3": "SRT", "99SDM": "SRT", "SCT": "SCT", "DCM": "DCM", "UMLS": "UMLS", "NCIT": "NCIt"}
_ORDER = ("SCT", "DCM", "NCIt", "UMLS", "MSH", "SRT")


@lru_cache(maxsize=1)
def _by_code() -> dict[tuple[str, str], list[Code]]:
    found: dict[tuple[str, str], list[Code]] = {}
    for code in store().codes:
        found.setdefault((code.scheme, code.value), []).append(code)
    return found


@lru_cache(maxsize=1)
def _by_about() -> dict[str, list[Code]]:
    found: dict[str, list[Code]] = {}
    for code in store().codes:
        found.setdefault(code.about, []).append(code)
    return found


def _codes(value: str, scheme: str) -> list[Code]:
    return _by_code().get((_SCHEMES.get(scheme.strip().upper(), scheme.strip()), value.strip()), [])


def _about(value: str, scheme: str, kind: str) -> str | None:
    for code in _codes(value, scheme):
        if code.about.startswith(kind) and code.about != kind:
            return code.about.removeprefix(kind)
    return None


def nuclide(value: str, scheme: str) -> str | None:
    """The nuclide of a code of RadionuclideCodeSequence, written ``89Zr``, or None.

    Examples
    --------
    >>> nuclide("C-111A1", "SRT"), nuclide("77004003", "SCT"), nuclide("0", "SCT")
    ('18F', '18F', None)
    """
    return _about(value, scheme, "nuclide:")


def agent(value: str, scheme: str) -> str | None:
    """The id of the agent of a code of RadiopharmaceuticalCodeSequence, or None if the agent is not known here."""
    return _about(value, scheme, "agent:")


def meaning(value: str, scheme: str) -> str | None:
    """The Code Meaning of a radiopharmaceutical code, or None."""
    return next((code.meaning for code in _codes(value, scheme) if code.about.startswith("agent:")), None)


def _best(about: str) -> Code | None:
    codes = _by_about().get(about, [])
    return min(codes, key=lambda code: (_ORDER.index(code.scheme), code.cid not in (4020, 4021)), default=None)


def nuclide_code(name: str) -> Code | None:
    """The code to write for a nuclide (``89Zr``), or None where DICOM has none.

    Examples
    --------
    >>> nuclide_code("89Zr")
    Code(scheme='SCT', value='63360001', meaning='^89^Zirconium', about='nuclide:89Zr', cid=4020)
    """
    return _best(f"nuclide:{name}")


def agent_code(agent_id: str) -> Code | None:
    """The code to write for an agent's id, or None where DICOM has none."""
    return _best(f"agent:{agent_id}")
