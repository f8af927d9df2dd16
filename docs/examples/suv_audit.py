"""
Which time does this image refer to?
====================================

A series that was processed after the scan carries two times that could both be the one to which its values are
decay-corrected. The audit of an SUV says which one was taken and why, and how much the value would change under each
other reading of the same header.
"""

import matplotlib.pyplot as plt

from timelens.lenses.pet.suv import suv_factors
from timelens.lenses.pet.suv_header import header_from_records

# %%
# The header of one image, by DICOM keyword. The series time is 50 minutes later than the acquisition time: somebody
# reformatted the series.
record = {
    "Units": "BQML",
    "DecayCorrection": "START",
    "CorrectedImage": ["NORM", "DTIM", "ATTN", "SCAT", "DECY"],
    "SeriesDate": "20240305",
    "SeriesTime": "110000",
    "AcquisitionDate": "20240305",
    "AcquisitionTime": "101000",
    "FrameReferenceTime": 660000,
    "ActualFrameDuration": 120000,
    "PatientWeight": 70,
    "PatientSize": 1.75,
    "PatientSex": "F",
    "RadionuclideTotalDose": 300e6,
    "RadionuclideHalfLife": 6586.2,
    "RadiopharmaceuticalStartDateTime": "20240305090000",
}
result = suv_factors(header_from_records([record], source="reformatted series"))
print("\n".join(result.audit.lines()))

# %%
# What each other reading would do to every SUV of this patient.
others = result.audit.alternatives
figure, axes = plt.subplots(figsize=(6.5, 0.7 + 0.4 * len(others)), layout="constrained")
axes.barh([other.name.replace("_", " ") for other in others], [other.change_percent for other in others], color="0.5")
axes.axvline(0, color="0.2", linewidth=1)
axes.bar_label(axes.containers[0], fmt="%+.1f %%", padding=4)
axes.margins(x=0.2)
axes.set(xlabel="change of SUV (%)")
axes.spines[["top", "right", "left"]].set_visible(False)
plt.show()
