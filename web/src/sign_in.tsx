/** The sign-in with an API key. The page forgets the key as soon as it has a session. */

import { useState } from "preact/hooks";
import { message } from "./api/http";
import { store } from "./state/store";
import { Problem } from "./ui/notes";
import { useTitle } from "./ui/use";

export function SignIn() {
  const [problem, setProblem] = useState<string>();
  const [isBusy, setBusy] = useState(false);
  useTitle("Sign in");

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const field = form.elements.namedItem("key") as HTMLInputElement;
    const key = field.value.trim();
    setProblem(key === "" ? "Enter an API key." : undefined);
    if (key === "") {
      field.focus();
      return;
    }
    setBusy(true);
    try {
      await store.signIn({ key });
    } catch (error) {
      setProblem(message(error));
      setBusy(false);
      field.select();
    }
  }

  return (
    <main class="sign-in">
      <form class="sign-in-form" onSubmit={(event) => void submit(event)}>
        <h1>FetchML</h1>
        {store.farewell.value && <p class="sign-in-farewell">{store.farewell.value}</p>}
        <label class="field">
          <span class="field-name">API key</span>
          <input
            name="key"
            type="password"
            autocomplete="off"
            autoFocus
            spellcheck={false}
            aria-invalid={problem !== undefined}
            aria-describedby="sign-in-help"
          />
        </label>
        <Problem text={problem} />
        <button type="submit" class="button button-primary" disabled={isBusy}>
          {isBusy ? "Signing in…" : "Sign in"}
        </button>
        <p id="sign-in-help" class="help">
          On the machine that runs the server, <code>fetchml ui --open</code> signs you in without a
          key. Otherwise ask an admin for a key.
        </p>
      </form>
    </main>
  );
}
