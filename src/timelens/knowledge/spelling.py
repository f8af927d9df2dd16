"""Spellings of agents: from any common way of writing a name to keys that can be compared.

People write one agent in many ways: ``[89Zr]Zr-DFO-atezolizumab``, ``89Zr-atezolizumab``, ``Zr-89 atezolizumab``,
``zirconium (89Zr) atezolizumab``, ``^89^Zr-Atezolizumab``. Two facts are read from each: which nuclide is named, and
the *core*, the letters and digits that remain in lower case. Two spellings mean one agent only if both facts agree;
there is no likeness of spellings, so FAPI-04 never becomes FAPI-46.

Where a text can be read in two ways ('18FDG' is 18F and FDG, sharing the F), both cores are kept.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Spelling", "nuclide", "parts", "plain", "read"]

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "ς": "sigma", "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
}  # fmt: skip

_ELEMENTS = {
    "h": "hydrogen", "c": "carbon", "n": "nitrogen", "o": "oxygen", "f": "fluorine", "na": "sodium", "p": "phosphorus",
    "s": "sulfur", "k": "potassium", "ca": "calcium", "sc": "scandium", "ti": "titanium", "cr": "chromium",
    "mn": "manganese", "fe": "iron", "co": "cobalt", "cu": "copper", "zn": "zinc", "ga": "gallium", "ge": "germanium",
    "as": "arsenic", "se": "selenium", "br": "bromine", "kr": "krypton", "rb": "rubidium", "sr": "strontium",
    "y": "yttrium", "zr": "zirconium", "nb": "niobium", "mo": "molybdenum", "tc": "technetium", "ru": "ruthenium",
    "rh": "rhodium", "pd": "palladium", "in": "indium", "sn": "tin", "i": "iodine", "xe": "xenon", "ba": "barium",
    "la": "lanthanum", "ce": "cerium", "sm": "samarium", "gd": "gadolinium", "tb": "terbium", "dy": "dysprosium",
    "ho": "holmium", "er": "erbium", "yb": "ytterbium", "lu": "lutetium", "ta": "tantalum", "w": "tungsten",
    "re": "rhenium", "ir": "iridium", "pt": "platinum", "au": "gold", "tl": "thallium", "pb": "lead", "bi": "bismuth",
    "at": "astatine", "ra": "radium", "ac": "actinium", "th": "thorium",
}  # fmt: skip
_OTHER_NAMES = {
    "fluor": "f", "kohlenstoff": "c", "stickstoff": "n", "sauerstoff": "o", "jod": "i", "iod": "i", "iode": "i",
    "fluoro": "f", "zirkonium": "zr", "zirconio": "zr", "galio": "ga", "gallio": "ga", "kupfer": "cu", "cuivre": "cu",
    "yttrio": "y", "phosphor": "p", "sulphur": "s", "indio": "in", "tecnecio": "tc", "tecnezio": "tc",
}  # fmt: skip
#: Nuclides that occur as labels or are seen by magnetic resonance. Only these are read as a nuclide, so that a number
#: in the name of a molecule (FAPI-46, PSMA-617, CD8) never is.
_KNOWN = """
1H 2H 3H 11C 13C 14C 13N 15N 14O 15O 17O 18F 19F 22Na 23Na 24Na 31P 32P 33P 35S 38K 40K 42K 43K 45Ca 47Ca 43Sc 44Sc
44mSc 46Sc 47Sc 45Ti 48Cr 51Cr 51Mn 52Mn 52mMn 54Mn 52Fe 55Fe 59Fe 55Co 56Co 57Co 58Co 58mCo 60Co 60Cu 61Cu 62Cu 64Cu
67Cu 62Zn 63Zn 65Zn 66Ga 67Ga 68Ga 68Ge 69Ge 70As 71As 72As 74As 76As 77As 72Se 73Se 75Se 74Br 75Br 76Br 77Br 80mBr
82Br 79Kr 81mKr 85Kr 81Rb 82Rb 83Rb 82Sr 83Sr 85Sr 87Sr 87mSr 89Sr 90Sr 85Y 86Y 87Y 88Y 90Y 91Y 86Zr 88Zr 89Zr 95Zr 97Zr
90Nb 92mNb 95Nb 93mMo 99Mo 94Tc 94mTc 95mTc 96Tc 99Tc 99mTc 97Ru 103Ru 106Ru 101mRh 103mRh 105Rh 100Pd 103Pd 109Pd
109In 110In 110mIn 111In 113mIn 114mIn 113Sn 117mSn 120I 121I 122I 123I 124I 125I 126I 131I 132I 133I 127Xe 129Xe 133Xe
135mXe 128Ba 131Ba 133Ba 132La 133La 135La 134Ce 139Ce 141Ce 144Ce 145Sm 153Sm 147Gd 153Gd 157Gd 149Tb 152Tb 155Tb
160Tb 161Tb 157Dy 159Dy 165Dy 166Dy 161Ho 166Ho 166mHo 165Er 169Er 169Yb 175Yb 176Lu 177Lu 177mLu 178Ta 182Ta 178W
188W 181Re 186Re 188Re 191mIr 192Ir 191Pt 193mPt 195mPt 195Au 195mAu 198Au 199Au 199Tl 200Tl 201Tl 202Tl 201Pb 203Pb
210Pb 212Pb 205Bi 206Bi 207Bi 212Bi 213Bi 209At 210At 211At 223Ra 224Ra 225Ra 226Ra 225Ac 227Ac 226Th 227Th 228Th 232Th
""".split()  # noqa: SIM905
_WRITTEN = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in _KNOWN}

_NAMES = {name: symbol for symbol, name in _ELEMENTS.items()} | _OTHER_NAMES
_SYM = "|".join(sorted(_ELEMENTS, key=len, reverse=True))
#: Hydrogen is only read with its mass before it (1H): H1, H2 and H3 are names of molecules.
_SYM_FIRST = _SYM.replace("|h|", "|").removesuffix("|h")
_NAME = "|".join(sorted(_NAMES, key=len, reverse=True))
_GAP = r"[\s\-\[\](){}_.,:]{0,3}"
#: A nuclide begins where no letter or digit stands before it, 'Al' of aluminium fluoride excepted.
_LEFT = r"(?:(?<![a-z0-9])|(?<=(?<![a-z0-9])al))"
#: The m of a metastable state is read with each form or not at all: 'Zr-89-mab' has none, 'Tc-99m-mab' has one.
_FORMS = tuple(
    f"{_LEFT}{form}"
    for m in (r"(?:[\s\-](?=m(?![a-z])))?(?P<m>m)", "")
    for form in (
        rf"(?P<name>{_NAME}){_GAP}(?P<mass>\d{{1,3}}){m}{_GAP}(?P<sym>{_SYM})(?![a-z])",
        rf"(?P<name>{_NAME}){_GAP}(?:(?P<sym>{_SYM}){_GAP})?(?P<mass>\d{{1,3}})(?!\d){m}",
        rf"(?P<mass>\d{{1,3}}){m}{_GAP}(?P<name>{_NAME})(?![a-z])",
        rf"(?P<mass>\d{{1,3}}){m}[\s\-.]{{0,3}}(?P<sym>{_SYM})",
        rf"(?P<sym>{_SYM_FIRST}){_GAP}(?P<mass>\d{{1,3}})(?!\d){m}",
    )
)


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], ...]:
    # Compiled when the first name is read: loading the knowledge base does not need them.
    return tuple(re.compile(form) for form in _FORMS)


#: Words around a name that say nothing of which agent it is.
_NOISE = frozenset(
    {
        *(
            "injection",
            "injections",
            "inj",
            "solution",
            "pet",
            "spect",
            "tracer",
            "tracers",
            "radiotracer",
            "imaging",
            "scan",
        ),
        *("labeled", "labelled", "radiolabeled", "radiolabelled", "conjugated", "class", "unspecified", "the", "of"),
    }
)
#: One word in several forms.
_SAME = {
    "nanoparticles": "nanoparticle", "microbubbles": "microbubble", "cells": "cell", "antibodies": "antibody",
    "tumor": "tumour", "humanized": "humanised", "functionalized": "functionalised",
}  # fmt: skip
_MARK = "\x00"


@dataclass(frozen=True, slots=True)
class Spelling:
    """What a text says.

    Attributes
    ----------
    nuclides
        The nuclides that it names, written ``89Zr``; usually none or one.
    core
        What remains in the plainest reading: letters and digits in lower case. Empty if only a nuclide is named.
    cores
        The same for every way of reading.
    """

    nuclides: tuple[str, ...]
    core: str
    cores: frozenset[str]


def plain(text: str) -> str:
    """Lower case without mark-up, superscripts, carets and Greek letters; hyphens of all kinds become '-'."""
    text = re.sub(r"</?su[pb]>|\\[a-z]+|[\^${}_~*\"'`’′®™©]", "", unicodedata.normalize("NFKC", text))
    text = "".join("-" if unicodedata.category(letter) == "Pd" or letter == "−" else letter for letter in text)
    text = re.sub(r"\b(pet|spect)\s*[/\-+]\s*(ct|mri?)\b", r"\1", text.replace("ß", "beta").lower())
    return "".join(_GREEK.get(letter, letter) for letter in text).strip()


def _nuclide(match: re.Match[str]) -> str | None:
    """The nuclide of a match if it is one that exists as a label."""
    found = match.groupdict()
    by_name = _NAMES.get(found.get("name") or "")
    symbol = found.get("sym") or by_name
    if by_name is not None and symbol != by_name:
        return None
    return _WRITTEN.get(f"{int(found['mass'])}{found.get('m') or ''}{symbol}")


def _next_nuclide(text: str) -> tuple[str, int, int, str] | None:
    """The nuclide that stands first in a text, its place and its symbol; the longer one where two begin together."""
    best: tuple[str, int, int, str] | None = None
    for pattern in _patterns():
        for match in pattern.finditer(text):
            written = _nuclide(match)
            if written is None:
                continue
            symbol = re.sub(r"[\dm]+(?=[A-Z])", "", written).lower()
            place = (written, match.start(), match.end(), symbol)
            if best is None or (place[1], -place[2]) < (best[1], -best[2]):
                best = place
            break
    return best


@lru_cache(maxsize=4096)
def read(text: str) -> Spelling:
    """Nuclides and cores of a text.

    Examples
    --------
    >>> read("[89Zr]Zr-Atezolizumab")
    Spelling(nuclides=('89Zr',), core='atezolizumab', cores=frozenset({'atezolizumab'}))
    >>> read("FAPI-46").nuclides
    ()
    """
    rest, nuclides = plain(text), []
    readings = [rest]
    while (found := _next_nuclide(rest)) is not None:
        written, start, end, symbol = found
        nuclides.append(written)
        shared = rest[start:end].endswith(symbol) and rest[end : end + 1].isalpha()
        before = re.sub(r"(?<![a-z0-9])al[\s\-\[(]*$", "alf-", rest[:start]) + _MARK
        after = rest[end:]
        # The element is often said twice: '[89Zr]Zr-DFO'.
        once = re.sub(rf"^([\s\-\[\](){{}}.,:]*){symbol}(?![a-z0-9])", r"\1", after)
        readings = [before + once]
        if glued := re.match(rf"[\s\-\[\](){{}}.,:]*{symbol}(?=[a-z])", after):
            readings.append(before + after[glued.end() :])  # '[18F]FAraG'
        if shared:
            readings.insert(0, before + symbol + after)  # '18FDG'
        rest = before + once
    cores = [_core(reading) for reading in readings]
    return Spelling(tuple(dict.fromkeys(nuclides)), cores[0], frozenset(filter(None, cores)))


def _core(reading: str) -> str:
    while (found := _next_nuclide(reading)) is not None:  # An alternative reading may still carry one.
        reading = reading[: found[1]] + _MARK + reading[found[2] :]
    words = re.findall(r"[^\W_]+", reading)
    kept = [_SAME.get(word, word) for word in words if word not in _NOISE]
    return "".join(kept or words)


def nuclide(text: str) -> str | None:
    """The one nuclide that a text names, written ``89Zr``; None if it names none or several.

    Examples
    --------
    >>> nuclide("Technetium Tc 99m"), nuclide("^18^Fluorine"), nuclide("F-18"), nuclide("CD8")
    ('99mTc', '18F', '18F', None)
    """
    found = read(text).nuclides
    return found[0] if len(found) == 1 else None


def parts(text: str) -> list[str]:
    """The pieces of a text that gives several names for one thing: 'FDG -- fluorodeoxyglucose', 'A (B)', 'A / B'."""
    pieces = re.split(r"\s-{1,2}\s|--|[;/=|,]\s|\s[;/=|]|[;=|]|\s\(|\)\s|\)$", plain(text))
    return [piece for piece in (p.strip(" ()[]-") for p in pieces) if piece]
