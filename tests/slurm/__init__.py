"""Flows on a real Slurm: skipped where there is none; REQUIRE_SLURM=1 makes that a failure."""
