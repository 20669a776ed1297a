"""GWLZ against its bases at equal PSNR: ``python -m bench.learned``."""
