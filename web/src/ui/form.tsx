/** A form of a few texts: its values, its request, and what the server finds wrong with each. */

import type { InputHTMLAttributes } from "preact";
import { useState } from "preact/hooks";
import { ApiError, message } from "../api/http";
import { violations } from "../api/violations";
import { Field } from "./field";

export interface Form<Name extends string> {
  /** Distinguishes the forms of one page. */
  id: string;
  values: Readonly<Record<Name, string>>;
  errors: ReadonlyMap<string, string>;
  /** An error that belongs to no field. */
  problem: string | undefined;
  change: (name: Name, value: string) => void;
  reject: (name: Name, why: string) => void;
  /** Send a request, then empty the form. If it fails, show why. */
  submit: (event: Event, request: () => Promise<void>) => Promise<void>;
}

export function useForm<Name extends string>(id: string, blank: Record<Name, string>): Form<Name> {
  const [values, setValues] = useState(blank);
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const [problem, setProblem] = useState<string>();

  async function submit(event: Event, request: () => Promise<void>): Promise<void> {
    event.preventDefault();
    setErrors(new Map());
    setProblem(undefined);
    try {
      await request();
      setValues(blank);
    } catch (error) {
      const found =
        error instanceof ApiError ? violations(error.message, Object.keys(blank)) : new Map();
      setErrors(found);
      setProblem(found.size > 0 ? undefined : message(error));
    }
  }

  return {
    id,
    values,
    errors,
    problem,
    change: (name, value) => setValues((before) => ({ ...before, [name]: value })),
    reject: (name, why) => setErrors(new Map([[name, why]])),
    submit,
  };
}

interface TextFieldProps<Name extends string> {
  form: Form<Name>;
  name: Name;
  label: string;
  help?: string;
  isRequired?: boolean;
  type?: "text" | "password" | "datetime-local";
  inputMode?: "numeric";
  class?: string;
}

export function TextField<Name extends string>(props: TextFieldProps<Name>) {
  const { form, name, label, help, isRequired = false, type = "text", ...input } = props;
  return (
    <Field
      form={form.id}
      name={name}
      label={label}
      help={help}
      isRequired={isRequired}
      error={form.errors.get(name)}
      control={(attributes) => (
        <input
          {...attributes}
          {...input}
          {...({ type } as InputHTMLAttributes)} // Its type allows one value at a time.
          autocomplete="off"
          spellcheck={false}
          value={form.values[name]}
          onInput={(event) => form.change(name, event.currentTarget.value)}
        />
      )}
    />
  );
}
