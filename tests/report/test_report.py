"""The report: what the page says is what the folder holds, and nothing in it can harm the reader."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.report.results import AUDIT, full_study, lesion_rows, regions, row, session_rows, write_study

from timelens import report
from timelens.errors import FormatError, UsageError
from timelens.figures import png_bytes
from timelens.figures.canvas import new_figure

VOID = {"meta", "img", "br", "hr", "link", "input"}
SOURCES = {"src", "srcset", "data", "poster", "action", "background"}


class Page(HTMLParser):
    """Checks nesting and collects what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = text
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.data: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "data":
            self.data.append((dict(attrs)["value"] or "", ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "data":
            self.data[-1] = (self.data[-1][0], data)
        if not {"style", "script"} & set(self.stack):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def prose(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(out: Path) -> Page:
    path = report.build(out)
    assert path == out / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def shown(text: str) -> float:
    text = text.replace("\u202f", "").replace("−", "-")
    if match := re.fullmatch(r"(.+)×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text):
        power = match[2].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        return float(f"{match[1]}e{power}")
    return float(text.rstrip(" %"))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_study(tmp_path_factory.mktemp("study") / "out", step=12.0, dpi=80)


# -- what it shows --------------------------------------------------------------------------------------------------


def test_every_number_of_the_table_is_on_the_page_and_rounded_right(full: Path) -> None:
    found = page(full)
    with (full / "measurements.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = {r["value"] for r in rows if r["value"]}
    audit = {str(a["change_percent"]) for a in AUDIT["alternatives"]}
    exact = {value for value, _ in found.data}
    assert values == exact - audit
    for value, text in found.data:
        assert shown(text) == pytest.approx(float(value), rel=0.0051), (value, text)


def test_lesions_stand_with_name_identity_number_and_uncertainty(tmp_path: Path) -> None:
    peaks = {1: ("neck", 8.0, 10.0)}
    out = write_study(
        tmp_path, {"sub-001/ses-01": session_rows(peaks)}, {"sub-001/ses-01": {"regions": regions(peaks)}}
    )
    found = page(out)
    assert re.search(
        r"1 neck followed as L01 10\.0 10\.5 ± 2\.9 5\.68 ± 1\.57 8\.00 ± 2\.22 56\.8 ± 0\.3 2\.70", found.prose
    )
    assert "± RC: repeatability coefficient, half the width of the limits of agreement" in found.prose
    assert "± SE: one standard error" in found.prose
    assert "SUV max a b g/mL ± RC" in found.prose  # shared remarks, the unit and the kind of ± stand in the head
    assert any(a.get("style") == "background:#d1330f" for a in found.all("span"))


def test_a_value_that_could_not_be_had_is_a_dash_with_its_reason(tmp_path: Path) -> None:
    rows = [row("suv_peak", math.nan, "g/mL", "neck", reason="too <small>"), row("mtv", 1.0, "mL", "neck")]
    found = page(write_study(tmp_path, {"sub-001/ses-01": rows}))
    assert [a["title"] for a in found.all("span") if a.get("class") == "none"] == ["too <small>"]
    assert re.search(r"– a\b.* a too <small>", found.prose)
    assert not re.search(r"\bnan\b", found.prose.lower())


def test_an_interval_is_shown_with_its_level(tmp_path: Path) -> None:
    rows = [
        row("suv_mean", 5.0, "g/mL", "neck", uncertainty_kind="interval", lower=4.0, upper=6.5, level=0.9),
        row("suv_mean", 6.0, "g/mL", "chest"),
    ]
    prose = page(write_study(tmp_path, {"sub-001/ses-01": rows})).prose
    assert "5.00 (4.00 to 6.50)" in prose
    assert "in brackets the 90 % interval" in prose


def test_the_summary_has_a_line_per_session_with_counts_of_problems(full: Path) -> None:
    prose = page(full).prose
    assert "2 subjects" in prose
    assert "4 sessions" in prose
    summary = prose[prose.index("All sessions, whole patient") : prose.index("Over time", 400)]
    assert re.search(r"sub-001 ses-01 2024-03-05 PET FDG 5 68\.5", summary)
    assert re.search(r"sub-001 ses-02 2024-05-05 PET FDG 4 36\.0 .* 1 warning", summary)


def test_audit_is_in_plain_words_with_the_change_under_other_readings(full: Path) -> None:
    prose = page(full).prose
    assert "The file stores activity concentration in Bq/mL." in prose
    assert "the start was counted back from each image by its frame reference time." in prose
    assert "62.2 min later, when 67.5 % of the activity was left (half-life 110 min)." in prose
    assert re.search(r"the series time 2024-03-05 10:41:00 \+27\.8 %", prose)
    assert re.search(r"the injection \(decay correction ADMIN\) 2024-03-05 09:00:00 −32\.5 %", prose)
    assert "PatientWeight (0010,1030) 75 kg the user" in prose


def test_problems_provenance_and_glossary(full: Path) -> None:
    found = page(full)
    assert "The liver lies partly outside the image" in found.prose
    assert "found 92 % inside expected all of it check the organ mask" in found.prose
    assert re.search(r"Problems of the study .* The file is cut off raw/broken\.dcm", found.prose)
    assert "Run 9f2c4b1a77e0d3c5, run-1" in found.prose
    assert "fixed SUV 4.0, 26 neighbours, at least 0.5 mL" in found.prose
    assert "Largest SUV of a voxel in the region" in found.prose
    assert "IBSI 84IY" in found.prose
    assert "Ktrans" not in found.prose  # only what was measured


def test_pictures_are_inside_in_their_order_with_words_for_those_who_cannot_see(full: Path) -> None:
    images = page(full).all("img")
    sessions = [i for i in images if "ses-0" in i["alt"] and "change" not in i["alt"]]
    assert [i["alt"].split(",")[0] for i in sessions[:3]] == [
        "Maximum-intensity projections", "Largest lesions", "Distribution of uptake",
    ]  # fmt: skip
    data = base64.b64decode(sessions[0]["src"].removeprefix("data:image/png;base64,"))
    assert data == (full / "sub-001/ses-01/figures/pet_mip.png").read_bytes()
    assert len(sessions) == 12
    assert all(i["alt"] and int(i["width"]) > 100 and int(i["height"]) > 100 for i in images)


def test_courses_are_drawn_where_a_subject_comes_twice(full: Path, tmp_path: Path) -> None:
    titles = [i["alt"].split(".")[0] for i in page(full).all("img")]
    assert titles[:3] == ["Course over time", "sub-001: change of each lesion", "sub-002: change of each lesion"]
    once = write_study(tmp_path, {"sub-001/ses-01": session_rows({1: ("neck", 8.0, 10.0)})})
    assert not page(once).all("img")


def test_lesions_followed_are_listed_by_identity_with_their_number_in_each_session(tmp_path: Path) -> None:
    before, after = {1: ("neck", 8.0, 10.0), 2: ("chest", 6.0, 5.0)}, {1: ("chest", 3.0, 5.0)}
    records = {
        "sub-001/ses-01": {"regions": regions(before)},
        "sub-001/ses-02": {"regions": [{**regions(after)[0], "identity": "L02"}]},
    }
    sessions = {"sub-001/ses-01": session_rows(before), "sub-001/ses-02": session_rows(after)}
    prose = page(write_study(tmp_path, sessions, records)).prose
    start = prose.index("Lesions over time")
    assert re.search(
        r"sub-001 L01 8\.00 ± 2\.22 1 not found L02 6\.00 ± 1\.66 2 3\.00 ± 0\.83 1 −50 %", prose[start : start + 400]
    )


def test_lesions_renamed_over_time_keep_the_number_of_their_pictures(tmp_path: Path) -> None:
    """The run renames rows to the identity, which may be another lesion's name in that session."""
    rows = [
        row("suv_peak", 8.0, "g/mL", "lesion-02", flags="lesion-01 of this session"),
        row("suv_peak", 6.0, "g/mL", "lesion-01", flags="lesion-02 of this session"),
    ]
    named = [{"acquisition": "pet", "number": n, "name": f"lesion-0{n}", "role": "lesion", "frame": 0} for n in (1, 2)]
    out = write_study(tmp_path, {"sub-001/ses-02": rows}, {"sub-001/ses-02": {"regions": named}})
    (out / "sub-001/lesions.csv").write_text(
        "session,acquisition,animal,frame,number,name,identity\n"
        "ses-01,pet,,,1,lesion-01,lesion-01\n"
        "ses-02,pet,,,1,lesion-01,lesion-02\nses-02,pet,,,2,lesion-02,lesion-01\n"
    )
    prose = page(out).prose
    assert "1 lesion-02 lesion-01 in the pictures 8.00 2 lesion-01 lesion-02 in the pictures 6.00" in prose
    assert "of this session" not in prose


def test_each_agent_has_a_block_with_its_target_pictures_numbers_and_calibration(tmp_path: Path) -> None:
    cd8 = {"acquisition": "zr", "agent": "89Zr-IAB22M2C", "target": "CD8A", "component": "cd8-t-cell"}
    rows = [
        *session_rows({1: ("neck", 8.0, 10.0)}),
        row("suv_peak", 4.0, "g/mL", "lesion", **cd8), row("mtv", 3.0, "mL", "lesion", **cd8),
    ]  # fmt: skip
    records = {
        "audit": {"pet:suv": AUDIT, "zr:suv": {**AUDIT, "branch": "GML"}},
        "pictures": [
            {"file": f"{name}.png", "title": f"Picture of {name}", "kind": "mip", "acquisition": name}
            for name in ("zr", "pet")
        ],
    }
    out = write_study(tmp_path, {"sub-001/ses-01": rows}, {"sub-001/ses-01": records})
    for name in ("zr", "pet"):
        (out / f"sub-001/ses-01/{name}.png").write_bytes(png_bytes(new_figure(1, 1)))
    prose = page(out).prose
    first, second = prose.index("PET FDG Agent"), prose.index("PET 89Zr-IAB22M2C Agent: [89Zr]Zr-crefmirlimab berdoxam")
    assert first < prose.index("Picture of pet") < prose.index("BQML/START") < second
    assert second < prose.index("Picture of zr") < prose.index("SUV GML")
    assert re.search(r"Target: CD8 alpha Shows: CD8\+ cytotoxic T lymphocyte", prose[second:])
    assert "lesion 3.00 4.00" in prose[second:]  # target and component are not said again in each line


def test_the_same_column_with_two_kinds_of_uncertainty_says_which_is_which(tmp_path: Path) -> None:
    rows = [
        row("suv_mean", 5.0, "g/mL", "neck", uncertainty=1.0, uncertainty_kind="repeatability"),
        row("suv_mean", 2.0, "g/mL", "liver", uncertainty=0.1, uncertainty_kind="standard_error"),
    ]
    prose = page(write_study(tmp_path, {"sub-001/ses-01": rows})).prose
    assert "5.00 ± 1.00 RC" in prose and "2.00 ± 0.10 SE" in prose


def test_what_the_run_was_told_is_a_list_of_words(tmp_path: Path) -> None:
    told = {"options": {"pet": {"segment": {"rule": "suv4"}}}, "entry": {"regions": [{"id": "rt"}], "skip": None}}
    records = {"sub-001/ses-01": {"run": {"parameters": told}}}
    found = page(write_study(tmp_path, {"sub-001/ses-01": lesion_rows(1, "neck", 5.0, 2.0)}, records))
    assert "options.pet.segment.rule suv4 entry.regions.1.id rt" in found.prose
    assert "{" not in found.prose


# -- what it is -----------------------------------------------------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere(full: Path) -> None:
    found = page(full)
    for tag, attrs in found.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "video", "audio"}
        for name in SOURCES & set(attrs):
            assert attrs[name].startswith("data:image/png;base64,")
        assert "url(" not in attrs.get("style", "")
        if tag == "a" and not attrs["href"].startswith("#"):
            assert attrs["href"].startswith("https://doi.org/10.")
    style = re.search(r"<style>(.*?)</style>", found.text, re.S)
    assert style is not None
    assert not re.search(r"@import|url\(|https?:", style[1])


def test_only_its_own_script_may_run(full: Path) -> None:
    text = page(full).text
    script = re.search(r"<script>(.*?)</script>", text, re.S)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert script is not None
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1].replace("&#39;", "'")
    assert "default-src 'none'" in policy[1].replace("&#39;", "'")
    assert text.count("<script") == 1


def test_tables_have_captions_and_scoped_heads_and_links_lead_somewhere(full: Path) -> None:
    found = page(full)
    assert len(found.all("caption")) == len(found.all("table"))
    assert all("scope" in attrs for attrs in found.all("th"))
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in found.all("a") if a["href"].startswith("#")}
    assert targets <= set(ids)
    assert {"session-1", "session-4", "summary", "glossary"} <= targets
    assert found.all("html") == [{"lang": "en"}]


def test_the_same_folder_gives_the_same_bytes(full: Path) -> None:
    first = report.build(full).read_bytes()
    assert report.build(full).read_bytes() == first
    assert not list(full.glob(".report*"))


def test_print_style_is_there_and_folded_tables_open_for_it(tmp_path: Path) -> None:
    peaks = {n: (f"lesion-{n}", 5.0, 2.0) for n in range(1, 101)}
    text = page(write_study(tmp_path, {"sub-001/ses-01": session_rows(peaks)})).text
    assert text.count('<details class="fold"><summary>Lesions and regions') == 3
    assert "(101 lines)" in text  # 100 lesions and the liver
    assert "details::details-content" in text
    assert "beforeprint" in text
    assert "@page { size: A4" in text


# -- odd studies ----------------------------------------------------------------------------------------------------


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no results"):
        report.build(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_an_empty_study_has_a_page(tmp_path: Path) -> None:
    prose = page(write_study(tmp_path, {})).prose
    assert "The study holds no sessions." in prose
    assert "Nothing was measured." in prose
    (tmp_path / "problems.csv").unlink()
    assert "0 sessions" in page(tmp_path).prose


def test_a_session_without_lesions_says_so(tmp_path: Path) -> None:
    rows = [row("lesion_count", 0.0, "{lesions}", "all lesions"), row("tmtv", 0.0, "mL", "all lesions")]
    found = page(write_study(tmp_path, {"sub-001/ses-01": rows}))
    assert "There are no lesions in this scan." in found.prose
    assert [text for _, text in found.data] == ["0", "0", "0", "0"]


def test_a_session_that_failed_keeps_its_place_and_its_reasons(tmp_path: Path) -> None:
    out = write_study(tmp_path, {"sub-001/ses-01": []})
    (out / "sub-001/ses-01/session.json").unlink()
    with (out / "problems.csv").open("a", encoding="utf-8") as file:
        file.write("sub-001,ses-01,pet.dcm,Units,nothing,BQML,state the unit,error,The unit is missing\n")
    prose = page(out).prose
    assert "Nothing was measured in this session" in prose
    assert "error The unit is missing pet.dcm Units found nothing expected BQML state the unit" in prose
    assert "1 error" in prose


def test_rows_of_sessions_that_are_not_listed_are_not_lost(tmp_path: Path) -> None:
    out = write_study(tmp_path, {"sub-001/ses-01": [], "sub-002/ses-01": lesion_rows(1, "neck", 5.0, 2.0)})
    study = json.loads((out / "study.json").read_text())
    (out / "study.json").write_text(json.dumps(study | {"sessions": ["sub-001/ses-01"]}))
    assert "sub-002 ses-01" in page(out).prose


def test_rows_of_other_modalities_and_several_scans_have_tables_of_their_own(tmp_path: Path) -> None:
    scan = {"acquisition": "dwi", "modality": "mr", "agent": ""}
    rows = [
        *session_rows({1: ("neck", 8.0, 10.0)}),
        row("adc", 0.00105, "mm2/s", "neck", **scan),
        row("cell_density", 51234.0, "{cells}/mm3", "neck", component="CD8", **scan),
        row("cell_density", 1234.0, "{cells}/mm3", "neck", component="Treg", **scan),
    ]
    prose = page(write_study(tmp_path, {"sub-001/ses-01": rows})).prose
    assert re.search(r"PET FDG Agent: .* neck 10\.0 .* MRI Measurements", prose)
    assert "0.00105" in prose
    assert "neck CD8 51 234" in prose  # set apart by a narrow space
    assert "neck Treg 1234" in prose


def test_a_second_rule_for_one_region_gets_its_own_line_with_its_name(tmp_path: Path) -> None:
    rows = [row("mtv", 10.0, "mL", "neck"), row("mtv", 7.0, "mL", "neck", method="41 % of maximum")]
    prose = page(write_study(tmp_path, {"sub-001/ses-01": rows})).prose
    assert "neck fixed SUV 4.0, 26 neighbours, at least 0.5 mL 10.0 neck 41 % of maximum 7.00" in prose


def test_replaced_rows_and_unknown_quantities_are_left_out(tmp_path: Path) -> None:
    old = row("mtv", 10.0, "mL", "neck", subject="sub-001", session="ses-01", run="run-1")
    new = row("mtv", 12.5, "mL", "neck", supersedes=old.id)
    out = write_study(tmp_path, {"sub-001/ses-01": [old, new]})
    text = (out / "measurements.csv").read_text()
    (out / "measurements.csv").write_text(text + text.splitlines()[-1].replace("mtv", "flux_capacity") + "\n")
    found = page(out)
    assert {value for value, _ in found.data} == {"12.5"}
    assert "1 row of the quantity “flux_capacity”" in found.prose


def test_clock_times_without_a_date_are_no_dates(tmp_path: Path) -> None:
    peaks = {1: ("neck", 8.0, 10.0)}
    sessions = {f"sub-001/ses-0{k}": session_rows(peaks) for k in (1, 2)}
    when = {name: {"when": "1900-01-01T10:00:00"} for name in sessions}
    found = page(write_study(tmp_path, sessions, when))
    assert "1900" not in found.prose
    assert found.all("img")[0]["alt"].startswith("Course over time")


# -- hostile folders ------------------------------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>&{{ 7*7 }}{% x %}</style></title>"


def test_text_from_files_stays_text(tmp_path: Path) -> None:
    rows = [
        row("mtv", 1.0, "mL", HOSTILE, method=HOSTILE, agent=HOSTILE, component=HOSTILE, acquisition=HOSTILE),
        row("suv_max", math.nan, "g/mL", HOSTILE, reason=HOSTILE, flags=HOSTILE, acquisition=HOSTILE),
    ]
    out = write_study(
        tmp_path,
        {"sub-001/ses-01": rows, "sub-001/ses-02": rows},
        {
            "sub-001/ses-01": {
                "when": HOSTILE,
                "acquisitions": [{"id": HOSTILE, "modality": HOSTILE, "agent": HOSTILE, "description": HOSTILE}],
                "recipe": [{"lens": HOSTILE, "name": HOSTILE, "parameters": {HOSTILE: HOSTILE}, "why": HOSTILE}],
                "audit": {HOSTILE: {**AUDIT, "branch": HOSTILE, "notes": [HOSTILE]}, "other": {HOSTILE: [HOSTILE]}},
                "problems": [dict.fromkeys(("message", "file", "field", "found", "expected", "mend"), HOSTILE)],
                "regions": [{"number": 1, "name": HOSTILE, "role": HOSTILE, "identity": HOSTILE}],
                "pictures": [{"file": HOSTILE, "title": HOSTILE, "caption": HOSTILE, "kind": HOSTILE}],
                "run": {"id": HOSTILE, "inputs": [{"path": HOSTILE}], "software": {HOSTILE: HOSTILE}},
                "outputs": [HOSTILE],
            }
        },
        name=HOSTILE,
        version=HOSTILE,
        participants={"sub-001": {HOSTILE: HOSTILE}},
        options={HOSTILE: HOSTILE},
    )
    found = page(out)
    assert found.text.count("<script") == 1
    assert found.text.count("</style>") == 1
    assert "49" not in found.prose
    assert HOSTILE in found.prose
    assert not found.all("img")[1:]  # the course over time only
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "sub-001/../../secret.png", "link.png", "no.png", "\0"]
)
def test_pictures_come_from_the_folder_alone_and_are_png(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    picture = png_bytes(new_figure(1, 1), dpi=20)
    (tmp_path / "secret.png").write_bytes(picture)
    write_study(out, {"sub-001/ses-01": []}, {"sub-001/ses-01": {"pictures": [{"file": name, "title": "MIP"}]}})
    (out / "sub-001/ses-01/link.png").symlink_to(tmp_path / "secret.png")
    (out / "sub-001/ses-01/no.png").write_bytes(b"<svg onload=alert(1)>")
    found = page(out)
    assert not found.all("img")
    assert "The picture 'MIP'" in found.prose


@pytest.mark.parametrize("name", ["../x/y", "/tmp/x", "a/b/c", "alone", "../.."])
def test_sessions_lie_inside_the_folder(tmp_path: Path, name: str) -> None:
    write_study(tmp_path, {})
    (tmp_path / "study.json").write_text(json.dumps({"sessions": [name]}))
    with pytest.raises(FormatError, match="named subject/session"):
        report.build(tmp_path)


def test_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    out = write_study(tmp_path, {"sub-001/ses-01": lesion_rows(1, "neck", 5.0, 2.0)})
    table = (out / "measurements.csv").read_text()
    (out / "measurements.csv").write_text(table.replace(",2.0,mL", ",two,mL"))
    with pytest.raises(FormatError, match=r"number cannot be read.*measurements\.csv.*value, line 2.*two"):
        report.build(out)
    (out / "measurements.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FormatError, match="lacks columns"):
        report.build(out)
    (out / "measurements.csv").write_text(table)
    (out / "sub-001/ses-01/session.json").write_text("{")
    with pytest.raises(FormatError, match=r"not JSON.*session\.json"):
        report.build(out)
    (out / "sub-001/ses-01/session.json").write_text("[]")
    with pytest.raises(FormatError, match="no JSON object"):
        report.build(out)
