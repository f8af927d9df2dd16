"""timelens: tumour immune microenvironment lens."""

__version__ = "0.1.0"
