"""
What resolution does to a small lesion
======================================

Spheres of one uptake and many sizes, painted into a uniform body and seen through a scanner of 6 mm resolution: the
smaller a lesion, the paler it looks. The recovery coefficient says by how much, and gives most of it back.
"""

import matplotlib.pyplot as plt
import numpy as np

from timelens.engines.regions.partial_volume import correct_mean, mask_recovery, sphere_recovery
from timelens.figures import mip_figure
from timelens.lenses.pet.counts import with_noise
from timelens.lenses.pet.view import scanner_image
from timelens.study import Geometry, Image
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion
from timelens.tumor.paint import label_region

UPTAKE, BACKGROUND, FWHM = 8.0, 1.0, 6.0
diameters = [10, 13, 17, 22, 28, 37]

# %%
# A body with six lesions in a ring, on 2 mm voxels.
angles = np.linspace(0, 2 * np.pi, len(diameters), endpoint=False)
lesions = tuple(
    lesion(f"{d} mm", (60 * np.cos(a), 60 * np.sin(a), 0), d, UPTAKE) for d, a in zip(diameters, angles, strict=True)
)
body = Shape("body", (0, 0, 0), (110, 110, 60), BACKGROUND, cylinder=True)
patient = DigitalPatient((body,), lesions)
grid = Geometry.from_spacing((40, 120, 120), (2, 2, 2), origin=(-119, -119, -39), frame="phantom")
image = scanner_image(patient, grid, fwhm_mm=FWHM)
values = with_noise(image.numpy(), 0.08, grid.spacing, FWHM, np.random.default_rng(0))
noisy = Image(values, unit="g/mL", geometry=grid, quantity="suv")

# %%
# The true outlines as labels, and the picture.
labels = label_region({shape.name: shape for shape in lesions}, grid, name="truth").labels.numpy()
names = {n: shape.name for n, shape in enumerate(lesions, start=1)}
figure = mip_figure(noisy, labels, names)
plt.show()

# %%
# Measured mean, and the mean corrected by the recovery of each mask.
means = [float(noisy.numpy()[labels == n].mean()) for n in names]
shares = [float(mask_recovery(labels == n, grid.spacing, FWHM)) for n in names]
corrected = [float(correct_mean(m, rc, BACKGROUND)) for m, rc in zip(means, shares, strict=True)]
for name, mean, share, value in zip(names.values(), means, shares, corrected, strict=True):
    print(f"{name:>6}: mean {mean:.2f}, recovery {share:.2f}, corrected {value:.2f} of {UPTAKE:.0f}")

fine = np.linspace(8, 40, 100)
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.axhline(UPTAKE, color="0.7", linewidth=1)
axes.plot(fine, BACKGROUND + (UPTAKE - BACKGROUND) * sphere_recovery(fine / 2, FWHM), label="closed form")
axes.plot(diameters, means, "o", label="measured")
axes.plot(diameters, corrected, "s", mfc="none", label="corrected")
axes.set(xlabel="diameter (mm)", ylabel="SUVmean (g/mL)", ylim=(0, 10))
axes.legend(frameon=False, loc="lower right")
axes.spines[["top", "right"]].set_visible(False)
plt.show()
