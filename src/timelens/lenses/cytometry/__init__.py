"""Tissue cytometry: from the channels of a section to cells, their types, densities and neighbours, and back."""
