/** The whole page: the sign-in, or the navigation beside a view. */

import { Shell } from "./shell";
import { SignIn } from "./sign_in";
import { store } from "./state/store";
import { Confirmation } from "./ui/dialog";
import { Loading, Toasts } from "./ui/notes";

export function App() {
  const session = store.session.value;
  return (
    <>
      {session === undefined ? (
        <main class="starting">
          <Loading what="Connecting" />
        </main>
      ) : session === null ? (
        <SignIn />
      ) : (
        <Shell session={session} />
      )}
      <Confirmation />
      <Toasts />
    </>
  );
}
