"""Several processes and machines: who they are, whether they live, jobs for a scheduler."""
