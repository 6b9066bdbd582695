/** Buttons in lines of text, tables and heads of panels. */

import type { ComponentProps } from "preact";
import { Icon, type IconName } from "./icon";

export function SmallButton({
  icon,
  class: extra = "",
  children,
  ...others
}: ComponentProps<"button"> & { icon?: IconName }) {
  return (
    <button type="button" class={`button button-small ${String(extra)}`.trimEnd()} {...others}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export function IconButton({
  icon,
  label,
  ...others
}: ComponentProps<"button"> & { icon: IconName; label: string }) {
  return (
    <button type="button" class="button-icon" aria-label={label} {...others}>
      <Icon name={icon} />
    </button>
  );
}
