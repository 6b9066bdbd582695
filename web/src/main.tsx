/** Starts the page. */
import { render } from "preact";
import { takeCode } from "./api/session";
import { App } from "./app";
import { startRouter } from "./router";
import { startClock } from "./state/clock";
import { store } from "./state/store";
import { startTheme } from "./state/theme";
import { confirmed } from "./ui/dialog";

const root = document.getElementById("app");
if (root === null) throw new Error("index.html has no element with the id app");
const code = takeCode();
startTheme();
startClock();
startRouter();
render(<App />, root);
void store.start(code, (user) =>
  confirmed({
    title: `Sign in again, instead of ${user}?`,
    text: "The link that opened this page signs in with its own key, and ends the session here.",
    action: "Sign in again",
  }),
);
addEventListener("online", () => store.hurry());
addEventListener("focus", () => store.focus());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") store.hurry();
  else store.rest();
});
