"""One file per format: reads it into an image, table or mesh, and writes it from one."""
