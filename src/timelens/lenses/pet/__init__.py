"""Positron emission tomography: from images to uptake and tumour burden."""
