"""The studies of ``python -m bench``: memory, threads, scaling, chunks."""
