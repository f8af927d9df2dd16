"""Files of tissue cytometry: MCD and TXT of imaging mass cytometry, plain TIFF with a panel, cell masks."""
