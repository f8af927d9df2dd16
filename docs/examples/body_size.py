"""
Which lean body mass for heavy patients?
========================================

SUV normalised to lean body mass depends on the formula. The one after James is a parabola in weight: beyond a certain
body mass index it says that heavier bodies are leaner, and SUV falls for no reason of biology. The formula after
Janmahasatian keeps rising.
"""

import matplotlib.pyplot as plt
import numpy as np

from timelens.engines.uptake import lean_body_mass_james, lean_body_mass_janmahasatian, suv_factor

height = 1.65
weights = np.linspace(45, 125, 81)

# %%
# Lean body mass of a woman of 1.65 m, in kilograms (the functions return grams).
james = np.array([lean_body_mass_james(weight, height, "F") for weight in weights])
janmahasatian = np.array([lean_body_mass_janmahasatian(weight, height, "F") for weight in weights])

# %%
# The same uptake, 5 kBq/mL after 250 MBq, as SUL under both.
concentration, activity = 5e3, 250e6
bmi = weights / height**2

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for mass, name in ((james, "James"), (janmahasatian, "Janmahasatian")):
    left.plot(bmi, mass / 1000, label=name)
    right.plot(bmi, concentration * suv_factor(mass, activity), label=name)
left.set(xlabel="body mass index (kg/m²)", ylabel="lean body mass (kg)")
right.set(xlabel="body mass index (kg/m²)", ylabel="SUL (g/mL)")
left.legend(frameon=False)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

# %%
# From this index on the James formula runs backwards:
print(f"{bmi[np.argmax(james)]:.1f} kg/m²")
plt.show()
