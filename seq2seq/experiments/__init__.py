"""More than one training: sweeps over settings, tables of runs, and runs that are repeated."""
