/** A bar for a share: drawn with SVG, so that its length needs no style. */

interface Props {
  /** 0 to 1; more is shown as 1. */
  value: number;
  label: string;
  tone?: "plain" | "warning" | "danger";
}

export function Meter({ value, label, tone = "plain" }: Props) {
  const share = Math.min(1, Math.max(0, Number.isFinite(value) ? value : 0));
  return (
    <svg
      class={`meter meter-${tone}`}
      viewBox="0 0 100 4"
      preserveAspectRatio="none"
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(share * 100)}
    >
      <rect class="meter-rest" width="100" height="4" />
      <rect class="meter-value" width={share * 100} height="4" />
    </svg>
  );
}
