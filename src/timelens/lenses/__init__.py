"""One folder per imaging modality: simulates it, and turns its images into measurements."""
