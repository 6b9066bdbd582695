/** Starts the page. */
import { render } from "preact";
import { takeCode } from "./api/session";
import { App } from "./app";
import { plain } from "./format";
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
void store.start(code, ({ user, role }, current) =>
  confirmed({
    title: `Sign in as ${plain(user)} (${role})?`,
    text: [
      "Sign in only if you created this link with “fetchml ui”. If somebody else sent it, everything",
      "that you submit or store goes to their account.",
      ...(current === undefined ? [] : [`This ends the session of ${plain(current)} here.`]),
    ].join(" "),
    action: "Sign in",
  }),
);
addEventListener("storage", () => store.followTabs());
addEventListener("online", () => store.hurry());
addEventListener("focus", () => store.focus());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") store.hurry();
  else store.rest();
});
