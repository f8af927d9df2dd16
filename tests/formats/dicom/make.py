"""Small DICOM series written by hand, to be spoiled by tests, and a patient to write with the library."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from timelens.study import Acquisition, Geometry, Image

ROOT = "1.2.826.0.1.3680043.8.498."
FRAME = ROOT + "77"
CLASSES = {
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "NM": "1.2.840.10008.5.1.4.1.1.20",
}


def save(dataset: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    return path


def one_slice(z: int, modality: str = "CT", *, size=(4, 5), spacing=3.0, seed=0) -> Dataset:
    """Slice z of a stack along the normal, pixels 2 x 2 mm, z mm."""
    rng = np.random.default_rng([seed, z])
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CLASSES[modality], f"{ROOT}1.{seed}.{z + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = ROOT + "2", f"{ROOT}3.{seed}"
    dataset.FrameOfReferenceUID = FRAME
    dataset.Modality, dataset.SeriesDescription = modality, "made by hand"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "4711", "19400102"
    dataset.PatientWeight, dataset.PatientSize, dataset.PatientSex = "70", "1.7", "F"
    dataset.SeriesDate, dataset.SeriesTime = "20240102", "110000"
    dataset.AcquisitionDate, dataset.AcquisitionTime = "20240102", "110000"
    dataset.Rows, dataset.Columns = size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelSpacing, dataset.SliceThickness = ["2", "2"], str(spacing)
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.ImagePositionPatient = ["-10", "-20", f"{z * spacing:.6f}"]
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    if modality == "PT":
        dataset.RescaleSlope, dataset.RescaleIntercept = str(1 + z), "0"
        dataset.Units, dataset.DecayCorrection = "BQML", "START"
        dataset.SeriesType = ["STATIC", "IMAGE"]
        dose = Dataset()
        dose.Radiopharmaceutical, dose.RadionuclideTotalDose, dose.RadionuclideHalfLife = "FDG", "370000000", "6586.2"
        dose.RadiopharmaceuticalStartDateTime = "20240102100000"
        dataset.RadiopharmaceuticalInformationSequence = Sequence([dose])
    dataset.PixelData = rng.integers(0, 3000, size, dtype=np.uint16).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def stack(folder: Path, count: int = 5, modality: str = "CT", change=None, **options) -> list[Path]:
    """A series of files; ``change(dataset, z)`` may spoil a slice, or return False to leave it out."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for z in range(count):
        dataset = one_slice(z, modality, **options)
        if change is not None and change(dataset, z) is False:
            continue
        files.append(save(dataset, folder / f"{z:03d}.dcm"))
    return files


def patient(modality: str = "pet", *, shape=(5, 6, 7), unit="Bq/mL", seed=1, **changes) -> Acquisition:
    """An acquisition to write."""
    rng = np.random.default_rng(seed)
    geometry = Geometry.from_spacing(shape, (3.0, 2.0, 2.5), origin=(-11.0, 5.0, 30.0), frame=FRAME)
    values = rng.integers(-1000, 1500, shape) if modality == "ct" else rng.gamma(2.0, 2000.0, shape)
    zero = datetime(2024, 1, 2, 10)
    image = Image(
        values.astype(np.float32),
        unit="[hnsf'U]" if modality == "ct" else unit,
        geometry=geometry,
        decay_reference=datetime(2024, 1, 2, 11) if modality == "pet" and unit == "Bq/mL" else None,
    )
    known = {
        "subject": "sub-001",
        "session": "ses-01",
        "acquisition_time": datetime(2024, 1, 2, 11),
        "series_time": datetime(2024, 1, 2, 11),
        "weight_g": 71_500.0,
        "height_mm": 1730.0,
        "sex": "F",
        "age_years": 61.0,
        "description": "whole body",
    }
    if modality == "pet":
        known |= {
            "agent": "FDG",
            "radionuclide": "18F",
            "half_life_s": 6586.2,
            "administered_activity_bq": 3.7e8,
            "administered_time": zero,
        }
    return Acquisition(f"sub-001_ses-01_{modality}", modality, image, **{**known, **changes})
