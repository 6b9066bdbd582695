/** Icons of one weight, drawn on 16 × 16. They are decoration: a text always stands beside them. */

const PATHS = {
  overview: "M2 2.5h5v4H2zM9 2.5h5v7H9zM2 8.5h5v5H2zM9 11.5h5v2H9z",
  tasks: "M2 4h1.5M6 4h8M2 8h1.5M6 8h8M2 12h1.5M6 12h8",
  submit: "M8 3v10M3 8h10",
  experiments: "M6 2h4M6.7 2v4.4L3 12.7a.9.9 0 0 0 .8 1.3h8.4a.9.9 0 0 0 .8-1.3L9.3 6.4V2M5 10h6",
  sweeps: "M2.5 2.5h3v3h-3zM2.5 10.5h3v3h-3zM10.5 2.5h3v3h-3zM10.5 10.5h3v3h-3zM5.5 4h5M4 5.5v5M5.5 12h5M12 5.5v5",
  runs: "M2 2v12h12M4 11c3 0 3-6 5.5-6S12 3.5 14 3",
  sql: "M3 4c0-2.4 10-2.4 10 0v8c0 2.4-10 2.4-10 0zM3 4c0 2.4 10 2.4 10 0M3 8c0 2.4 10 2.4 10 0",
  gpus: "M4 4h8v8H4zM6.5 6.5h3v3h-3zM6 1.5V4M10 1.5V4M6 12v2.5M10 12v2.5M1.5 6H4M1.5 10H4M12 6h2.5M12 10h2.5",
  jupyter: "M2.5 3.5h11v9h-11zM5 6.2 7 8l-2 1.8M8.5 10h3",
  admin: "M8 1.8 13.5 4v4c0 3.2-2.2 5.3-5.5 6.4C4.7 13.3 2.5 11.2 2.5 8V4z",
  environments: "M8 1.8 13.5 5v6L8 14.2 2.5 11V5zM2.5 5 8 8.2 13.5 5M8 8.2v6",
  secrets: "M9.5 2.5a4 4 0 1 0 .1 0M7 9l-4.5 4.5M4.5 11.5l1.5 1.5",
  notifications: "M3 11.5h10L12 10V7a4 4 0 0 0-8 0v3zM6.5 13.5h3",
  queued: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2M8 4.8V8l2.2 1.6",
  preparing: "M8 2v8M4.8 7 8 10.2 11.2 7M2.5 13.5h11",
  running: "M4.5 2.8v10.4L13 8z",
  collecting: "M8 10.5v-8M4.8 5.6 8 2.4l3.2 3.2M2.5 13.5h11",
  completed: "m2.8 8.6 3.4 3.4 7-7.6",
  failed: "m4 4 8 8M12 4l-8 8",
  cancelled: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2M4 12 12 4",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  download: "M8 2v8M4.8 7 8 10.2 11.2 7M2.5 13.5h11",
  retry: "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
  close: "m4 4 8 8M12 4l-8 8",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3l3.5 3.5",
  menu: "M2 4h12M2 8h12M2 12h12",
  warning: "M8 2 14.5 13.5h-13zM8 6.5v3.2M8 11.4v.4",
  info: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2M8 7.2v4M8 4.8v.4",
  edit: "m3 13 .6-2.9 7-7L13 5.5l-7 7zM9.4 4.3l2.3 2.3",
  stop: "M4 4h8v8H4z",
  label: "M2.5 2.5h5.3l5.7 5.7-5.3 5.3-5.7-5.7zM5.2 5.2v.1",
  down: "m4 6 4 4 4-4",
  up: "m4 10 4-4 4 4",
  right: "m6 4 4 4-4 4",
  theme: "M8 2.2a5.8 5.8 0 1 0 0 11.6zM8 2.2a5.8 5.8 0 0 1 0 11.6",
  file: "M4 1.8h5l3 3v9.4H4zM9 1.8v3h3",
  trash: "M3 4.5h10M6 4.5V2.8h4v1.7M4.5 4.5l.5 9h6l.5-9",
  external: "M6.5 3.5h-4v10h10v-4M9 2.5h4.5V7M13.2 2.8 7.5 8.5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, class: extra = "" }: { name: IconName; class?: string }) {
  return (
    <svg class={`icon ${extra}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
