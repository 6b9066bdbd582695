/** Queries to begin with. docs/history.md has more. */

export const EXAMPLES = [
  {
    title: "GPU hours and energy by user and month",
    sql: `SELECT date_trunc('month', hour) AS month, user_id,
       round(sum(gpu_hours), 1) AS gpu_hours, round(sum(energy_kwh), 2) AS energy_kwh
FROM gpu_hours
GROUP BY ALL
ORDER BY month DESC, gpu_hours DESC`,
  },
  {
    title: "Runs with the lowest loss, and their learning rates",
    sql: `SELECT runs.name, metrics.value AS loss, params.value AS lr
FROM runs
JOIN metrics ON metrics.run_id = runs.id AND metrics.key = 'loss'
LEFT JOIN params ON params.run_id = runs.id AND params.key = 'lr'
WHERE NOT isnan(metrics.value)
ORDER BY loss
LIMIT 20`,
  },
  {
    title: "How long tasks waited, by week",
    sql: `SELECT date_trunc('week', created_at) AS week, count(*) AS tasks,
       round(median(wait_seconds)) AS median_seconds, round(quantile_cont(wait_seconds, 0.95)) AS p95_seconds
FROM tasks
WHERE wait_seconds IS NOT NULL
GROUP BY week
ORDER BY week DESC`,
  },
  {
    title: "Why attempts fail",
    sql: `SELECT failure_reason, exit_code, count(*) AS attempts,
       round(sum(run_seconds) / 3600, 1) AS lost_hours
FROM attempts
WHERE failure_reason IS NOT NULL
GROUP BY ALL
ORDER BY attempts DESC`,
  },
  {
    title: "Hours in which a held GPU did nothing",
    sql: `SELECT hour, user_id, task_id, gpu_hours, round(utilisation_percent) AS percent
FROM gpu_hours
WHERE utilisation_percent < 5
ORDER BY hour DESC
LIMIT 100`,
  },
] as const;
