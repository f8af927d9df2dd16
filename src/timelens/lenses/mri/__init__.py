"""MRI: relaxometry and contrast-enhanced series, from images to parametric images in reported units."""
