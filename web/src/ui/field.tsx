/** A control of a form, with its name, an explanation, and what is wrong with it. */

import type { ComponentChildren, JSX } from "preact";

/** What the control itself must carry, so that screen readers read all of it. */
export interface ControlProps {
  id: string;
  name: string;
  "aria-describedby"?: string;
  "aria-invalid"?: "true";
  "aria-required"?: "true";
}

interface Props {
  name: string;
  label: string;
  /** Distinguishes forms of one page. */
  form: string;
  help?: ComponentChildren;
  error?: string | undefined;
  isRequired?: boolean;
  class?: string;
  control: (props: ControlProps) => JSX.Element;
}

export function Field(props: Props) {
  const { name, label, form, help, error, isRequired, class: extra = "", control } = props;
  const id = `${form}-${name}`;
  const described = [help ? `${id}-help` : "", error ? `${id}-error` : ""].filter(Boolean);
  const attributes: ControlProps = { id, name };
  if (described.length > 0) attributes["aria-describedby"] = described.join(" ");
  if (error) attributes["aria-invalid"] = "true";
  if (isRequired) attributes["aria-required"] = "true";
  return (
    <div class={`field ${extra}`}>
      <label class="field-name" htmlFor={id}>
        {label}
        {isRequired && <span class="muted"> required</span>}
      </label>
      {control(attributes)}
      {error && (
        <p id={`${id}-error`} class="field-error">
          {error}
        </p>
      )}
      {help && (
        <p id={`${id}-help`} class="help">
          {help}
        </p>
      )}
    </div>
  );
}

/** The choices of a `<select>`, each a value and its text. */
export function Options({ of }: { of: readonly (readonly [string, string])[] }) {
  return of.map(([value, text]) => (
    <option key={value} value={value}>
      {text}
    </option>
  ));
}

interface CheckProps {
  isOn: boolean;
  onChange: (isOn: boolean) => void;
  class?: string;
  children: ComponentChildren;
}

export function Check({ isOn, onChange, class: extra = "", children }: CheckProps) {
  return (
    <label class={`check ${extra}`}>
      <input type="checkbox" checked={isOn} onChange={(event) => onChange(event.currentTarget.checked)} />
      {children}
    </label>
  );
}
