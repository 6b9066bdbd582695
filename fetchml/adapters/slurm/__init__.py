"""Runs tasks on a Slurm cluster.

- `launcher`: the life of an attempt, method by method
- `hand_overs`, `start_files`, `job_requests`, `array_records`, `containers`: what is written and
  submitted for an attempt
- `submits`, `follower`, `records_watch`: its job is submitted, followed, found again and ended
- `attempt_exits`, `explanations`: how it ended, or why it waits
- `transport`, with `rest` (and `tokens`) and `commands`: requests to Slurm; `job`: their values
- `accounts`, `access_lists`: jobs that run as the accounts of users
- `health`, `nodes`, `queue_watch`, `measurements`: reports about the cluster
"""
