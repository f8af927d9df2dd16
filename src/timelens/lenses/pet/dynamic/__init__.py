"""Dynamic PET: from frames and blood to rate constants with errors, for regions, voxels and bed positions.

``lens.py`` takes a series, ``analysis.py`` leads it through input, curves, fits and maps, ``multibed.py`` several
bed positions. Blood becomes an input in ``samples.py``, ``blood.py``, ``parent.py`` and ``checks.py``.
"""
