"""What a run leaves on the disk: its directory, checkpoints, configuration and card."""
