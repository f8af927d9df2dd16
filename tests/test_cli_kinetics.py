"""``timelens kinetics`` from end to end: known tissues, real scans, and what it says of bad input."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from timelens.cli import app
from timelens.engines.kinetics import Frames, InputFunction, convolve_exponential, feng, frame_values
from timelens.errors import DataError, MissingFieldError, TimelensError, UsageError
from timelens.run.kinetics import KineticOptions, fit_curves, parameter_rows, write_kinetics

LENGTHS = np.array([10.0] * 12 + [30] * 6 + [60] * 5 + [300] * 8)
FRAMES = Frames(np.cumsum(LENGTHS) - LENGTHS, np.cumsum(LENGTHS))
TIMES = np.concatenate([np.arange(0, 240, 2.0), np.arange(240, FRAMES.end[-1] + 31, 30.0)])
PLASMA = feng(TIMES - 8.0, (14.2, 21.9, 20.8), (0.0689, 0.001985, 0.000174))
K1, K2, VB = 0.3, 0.1, 0.05


def _one_tissue(k1: float = K1, k2: float = K2, v_b: float = VB) -> np.ndarray:
    curve = InputFunction(TIMES, PLASMA, "parent")
    tissue = k1 / 60 * convolve_exponential(curve.times, curve.values, k2 / 60, FRAMES)
    return np.asarray((1 - v_b) * tissue + v_b * frame_values(curve.times, curve.values, FRAMES))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Curves in kBq/mL and blood after PET-BIDS, each with its JSON."""
    curves = pd.DataFrame({"frame_start": FRAMES.start, "frame_end": FRAMES.end, "tumour": _one_tissue()})
    curves["muscle"] = curves["tumour"] / 5
    curves.to_csv(tmp_path / "tacs.tsv", sep="\t", index=False)
    (tmp_path / "tacs.json").write_text(json.dumps({"tumour": {"Units": "kBq/mL"}, "muscle": {"Units": "kBq/mL"}}))
    blood = pd.DataFrame({"time": TIMES, "whole_blood_radioactivity": PLASMA, "plasma_radioactivity": PLASMA})
    blood["metabolite_parent_fraction"] = 1.0
    blood.to_csv(tmp_path / "a_blood.tsv", sep="\t", index=False)
    said = {name: {"Units": "kBq/mL"} for name in ("whole_blood_radioactivity", "plasma_radioactivity")}
    (tmp_path / "a_blood.json").write_text(json.dumps({**said, "DecayCorrected": True}))
    return tmp_path / "tacs.tsv", tmp_path / "a_blood.tsv"


def _run(*arguments: object) -> tuple[int, list[dict[str, object]]]:
    result = CliRunner().invoke(app, ["kinetics", *map(str, arguments), "--json"], catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def test_rows_of_the_contract(files: tuple[Path, Path]) -> None:
    code, rows = _run(files[0], "--blood", files[1], "--model", "1TCM", "--parent-fraction", "none")
    assert code == 0
    found = {(r["region"], r["parameter"]): r for r in rows}
    first = found["tumour", "v_t"]
    assert {"region", "model", "parameter", "value", "standard_error", "lower", "upper", "unit"} <= set(first)
    assert (first["model"], first["unit"]) == ("1tcm", "mL/mL")
    assert first["value"] == pytest.approx(K1 / K2, rel=1e-5)
    assert found["tumour", "k1"]["value"] == pytest.approx(K1, rel=1e-5)
    assert found["tumour", "k1"]["unit"] == "mL/min/mL"
    assert found["tumour", "k2"]["value"] == pytest.approx(K2, rel=1e-5)
    assert found["tumour", "v_b"]["value"] == pytest.approx(VB, rel=1e-4)


def test_auto_takes_the_model_that_made_the_curve(files: tuple[Path, Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.read_csv(files[0], sep="\t")
    table["tumour"] += rng.normal(0, 0.02, len(table)) * table["tumour"].iloc[-1] * np.sqrt(300 / LENGTHS)
    table[["frame_start", "frame_end", "tumour"]].to_csv(tmp_path / "noisy.tsv", sep="\t", index=False)
    _, rows = _run(tmp_path / "noisy.tsv", "--blood", files[1], "--unit", "kBq/mL", "--weights", "duration")
    assert {r["model"] for r in rows} == {"1tcm"}
    assert "chosen of 1tcm, 2tcm_irreversible, 2tcm by AIC" in str(rows[0]["flags"])
    v_t = next(r for r in rows if r["parameter"] == "v_t")
    assert float(str(v_t["lower"])) < K1 / K2 < float(str(v_t["upper"]))


def test_folder_of_tables_and_pictures(files: tuple[Path, Path], tmp_path: Path) -> None:
    options = KineticOptions(models=("patlak", "logan"), t_star_min=15.0)
    result = fit_curves(files[0], [files[1]], options)
    written = write_kinetics(result, tmp_path / "out")
    names = {p.name for p in written}
    assert {"parameters.csv", "tacs.tsv", "fits.tsv", "graphs.tsv", "input.tsv", "kinetics_fits.png"} <= names
    table = pd.read_csv(tmp_path / "out" / "parameters.csv")
    assert set(table.model) == {"patlak", "logan"} and (table.t_star_min == 15).all()
    logan = table[table.parameter == "v_t"].set_index("region").value
    assert logan["tumour"] == pytest.approx(K1 / K2 * (1 - VB), rel=0.03)
    assert logan["muscle"] == pytest.approx(logan["tumour"] / 5, rel=1e-6)
    again = fit_curves(tmp_path / "out" / "tacs.tsv", [files[1]], options)  # what was written is read
    assert parameter_rows(again)[0]["value"] == pytest.approx(parameter_rows(result)[0]["value"], rel=1e-9)


def test_reference_models_need_no_unit(files: tuple[Path, Path], tmp_path: Path) -> None:
    """R1 = 0.09 / 0.06, and 1 + BP_ND = (0.09 / 0.05) / (0.06 / 0.2)."""
    table = pd.read_csv(files[0], sep="\t")
    table["tumour"], table["muscle"] = _one_tissue(0.09, 0.05, 0.0), _one_tissue(0.06, 0.2, 0.0)
    table.to_csv(tmp_path / "bare.tsv", sep="\t", index=False)
    code, rows = _run(tmp_path / "bare.tsv", "--reference", "muscle", "--model", "mrtm1")
    assert code == 0
    found = {r["parameter"]: r["value"] for r in rows}
    assert found["r1"] == pytest.approx(1.5, rel=0.02)  # the reference's curve is linear between frames
    assert found["bp_nd"] == pytest.approx(5.0, rel=0.01)
    assert {r["region"] for r in rows} == {"tumour"}


def test_delay_is_fitted_and_reported(files: tuple[Path, Path], tmp_path: Path) -> None:
    blood = pd.read_csv(files[1], sep="\t")
    blood["time"] += 5.0
    late = tmp_path / "late_blood.tsv"
    blood.to_csv(late, sep="\t", index=False)
    (tmp_path / "late_blood.json").write_text((tmp_path / "a_blood.json").read_text())
    _, rows = _run(files[0], "--blood", late, "--model", "1tcm", "--delay", "fit", "--parent-fraction", "none")
    delay = next(r for r in rows if r["parameter"] == "input_delay")
    assert delay["value"] == pytest.approx(-5.0, abs=0.2)
    assert delay["unit"] == "s"
    assert next(r for r in rows if r["parameter"] == "k1")["value"] == pytest.approx(K1, rel=0.01)


def test_list_of_models() -> None:
    result = CliRunner().invoke(app, ["kinetics", "--list", "--json"])
    models = {m["id"]: m for m in json.loads(result.stdout)}
    assert models["srtm"]["needs"] == "reference"
    assert {"2tcm", "patlak", "logan", "antibody_patlak", "frtm"} <= set(models)
    assert "2tcm_irreversible" in CliRunner().invoke(app, ["kinetics", "--list"]).stdout


def test_a_person_reads_symbols(files: tuple[Path, Path]) -> None:
    said = CliRunner().invoke(app, ["kinetics", str(files[0]), "--blood", str(files[1]), "--model", "1tcm"]).stdout
    assert "tumour  1tcm" in said
    assert "V_T" in said
    assert "mL/min/mL" in said


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"models": ("4tcm",)}, "no such kinetic model"),
        ({"reference": "pons"}, "reference region is not in the table"),
        ({"weights": "heavy"}, "no such weights"),
        ({"unit": "Bq/mL"}, "contradicts the file"),
        ({"blood_volume": 1.5}, "must be a fraction"),
    ],
)
def test_wrong_options(files: tuple[Path, Path], change: dict[str, object], match: str) -> None:
    try:
        said = str(fit_curves(files[0], [files[1]], KineticOptions(**{"models": ("1tcm",), **change})).problems[0])  # type: ignore[arg-type]
    except TimelensError as error:
        said = str(error)
    assert match in said


def _change(path: Path, **columns: object) -> None:
    table = pd.read_csv(path, sep="\t")
    for name, make in columns.items():
        table[name] = make(table) if callable(make) else make
    table.to_csv(path, sep="\t", index=False)


def test_minutes_in_the_blood(files: tuple[Path, Path]) -> None:
    _change(files[1], time=lambda t: t["time"] / 60)
    with pytest.raises(DataError, match=r"one sixtieth of the scan.*minutes"):
        fit_curves(files[0], [files[1]], KineticOptions())


def test_minutes_in_the_frames(files: tuple[Path, Path]) -> None:
    _change(files[0], frame_start=lambda t: t["frame_start"] / 60, frame_end=lambda t: t["frame_end"] / 60)
    with pytest.raises(DataError, match="far longer than the scan"):
        fit_curves(files[0], [files[1]], KineticOptions())
    assert fit_curves(files[0], [files[1]], KineticOptions(time_unit="min", half_life_s=6586.2)).problems == []
    warned = fit_curves(files[0], [], KineticOptions(models=("srtm",), reference="muscle"))
    assert "are their times minutes" in warned.problems[0].message


def test_weights_of_counts_without_a_half_life_are_said(files: tuple[Path, Path]) -> None:
    (said,) = fit_curves(files[0], [files[1]], KineticOptions(models=("1tcm",))).problems
    assert (said.severity, said.field) == ("warning", "--half-life")
    assert fit_curves(files[0], [files[1]], KineticOptions(models=("1tcm",), weights="duration")).problems == []


def test_units_of_blood_and_tissue_by_orders(files: tuple[Path, Path]) -> None:
    said = json.loads((files[1].parent / "a_blood.json").read_text())
    said["whole_blood_radioactivity"] = said["plasma_radioactivity"] = {"Units": "Bq/mL"}
    (files[1].parent / "a_blood.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"orders of magnitude.*kBq/mL read as Bq/mL"):
        fit_curves(files[0], [files[1]], KineticOptions())


def test_what_is_missing(files: tuple[Path, Path]) -> None:
    with pytest.raises(MissingFieldError, match="There is no input"):
        fit_curves(files[0], [], KineticOptions())
    (files[1].parent / "a_blood.json").unlink()
    with pytest.raises(MissingFieldError, match="whole_blood_radioactivity' has no unit"):
        fit_curves(files[0], [files[1]], KineticOptions())
    (files[0].parent / "tacs.json").unlink()
    with pytest.raises(MissingFieldError, match="curves have no unit"):
        fit_curves(files[0], [files[1]], KineticOptions())


def test_wrong_use_of_the_command(files: tuple[Path, Path]) -> None:
    for arguments, match in (([], "no curves"), (["nothing.tsv"], "no such file")):
        with pytest.raises(UsageError, match=match):
            CliRunner().invoke(app, ["kinetics", *arguments], catch_exceptions=False)
    with pytest.raises(UsageError, match="delay is no number"):
        CliRunner().invoke(app, ["kinetics", str(files[0]), "--delay", "soon"], catch_exceptions=False)


def test_a_model_that_cannot_be_fitted_ends_with_one(files: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(
        app, ["kinetics", str(files[0]), "--blood", str(files[1]), "--model", "1tcm", "--model", "srtm", "--json"]
    )
    assert result.exit_code == 1
    assert "srtm: The model srtm needs a reference region" in result.stderr
    assert {r["model"] for r in json.loads(result.stdout)} == {"1tcm"}


# -- twenty scans of [11C]PBR28 from raw blood -----------------------------------------------------------------------


def _raw_scan(folder: Path, name: str, target: Path) -> tuple[Path, list[Path], float]:
    """One scan as files: curves, autosampler (1 s, dispersion 2.6 s), manual samples with parent fractions."""
    raw = json.loads(gzip.decompress((folder / "pbr28_blooddata.json.gz").read_bytes()))[name]
    unit = {"whole_blood_radioactivity": {"Units": "kBq/mL"}, "plasma_radioactivity": {"Units": "kBq/mL"}}
    auto = target / f"{name}_recording-autosampler_blood.tsv"
    manual = target / f"{name}_recording-manual_blood.tsv"
    blood = {"activity": "whole_blood_radioactivity"}
    pd.DataFrame(raw["Blood"]["Continuous"]["Values"]).rename(columns=blood).to_csv(
        auto, sep="\t", index=False, na_rep="n/a"
    )
    tables = [
        pd.DataFrame(raw["Blood"]["Discrete"]["Values"]).rename(columns=blood),
        pd.DataFrame(raw["Plasma"]["Values"]).rename(columns={"activity": "plasma_radioactivity"}),
        pd.DataFrame(raw["Metabolite"]["Values"]).rename(columns={"parentFraction": "metabolite_parent_fraction"}),
    ]
    whole = pd.concat([t.astype(float).set_index("time") for t in tables], axis=1).sort_index().reset_index()
    whole.to_csv(manual, sep="\t", index=False, na_rep="n/a")
    for path, more in ((auto, {"DispersionConstant": 2.6, "DispersionCorrected": False}), (manual, {})):
        path.with_suffix(".json").write_text(json.dumps({**unit, **more, "DecayCorrected": True}))
    curves = pd.read_csv(folder / "pbr28_tacs.csv")
    curves = curves[name == curves.PET].drop(columns=["PET", "Subjname", "PETNo", "Genotype", "injRad"])
    curves.to_csv(target / f"{name}.csv", index=False)
    return target / f"{name}.csv", [auto, manual], float(curves.StartTime.iloc[-10]) / 60


@pytest.mark.parametrize(
    "names",
    [
        ["cgyu_1", "flfp_2", "rwrd_2"],
        pytest.param(
            ["cgyu_2", "flfp_1", "jdcs_1", "jdcs_2", "kzcp_1", "kzcp_2", "mhco_1", "mhco_2", "rbqc_1", "rbqc_2",
             "rtvg_1", "rtvg_2", "rwrd_1", "xehk_1", "xehk_2", "ytdh_1", "ytdh_2"],
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_real_scans_from_raw_blood(shared_data: Path, tmp_path: Path, names: list[str]) -> None:
    """V_T of MA1 within 5 % of kinfitr 0.9.1, which starts from blood that its authors prepared otherwise."""
    folder = shared_data / "pet_pbr28_kinfitr"
    if not folder.is_dir():
        pytest.skip(f"kinfitr's reference data not found at {folder}")
    fits = pd.read_csv(folder / "kinfitr_pbr28_fits_long.csv")
    reference = fits[(fits.model == "MA1_10fr") & (fits.param == "Vt")].set_index(["PET", "region"]).value
    off = []
    for name in names:
        curves, blood, t_star = _raw_scan(folder, name, tmp_path)
        options = KineticOptions(models=("ma1",), unit="kBq/mL", delay_s="fit", t_star_min=t_star)
        result = fit_curves(curves, blood, options)
        rows = [r for r in parameter_rows(result) if r["parameter"] == "v_t"]
        off += [r["value"] / reference[name, r["region"]] - 1 for r in rows]
    assert len(off) == 6 * len(names)
    assert np.abs(off).max() < 0.05
