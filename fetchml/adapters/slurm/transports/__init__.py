"""The ways to Slurm's controller: slurmrestd, and Slurm's commands."""
