// In the pages of a Jupyter service: says when it will be stopped because nothing happens in it.
(() => {
  const url = new URL("notice", document.currentScript.src);
  const bar = document.createElement("div");
  bar.id = "fetchml-notice";
  bar.setAttribute("role", "status");
  bar.hidden = true;
  const style = {
    position: "fixed", bottom: "0", left: "0", right: "0", zIndex: "100000", padding: "6px 12px",
    background: "#b45309", color: "#fff", font: "14px/1.4 system-ui, sans-serif",
    textAlign: "center",
  };
  Object.assign(bar.style, style);
  document.body.append(bar);

  const show = (words) => {
    bar.textContent = words;
    bar.hidden = words === "";
  };
  const look = async () => {
    try {
      const reply = await fetch(url, { cache: "no-store", credentials: "same-origin" });
      if (reply.status === 404) {
        show("This service has ended. What is in its workspace is kept.");
      } else if (reply.ok) {
        const { stops_at: stopsAt } = await reply.json();
        const at = (time) => time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
        show(stopsAt === undefined ? "" : "Nothing has run here for some time: this service stops " +
          `at ${at(new Date(stopsAt))}. Run a cell to keep it.`);
      }
    } catch {
      // The server is away for a moment; what was shown last may still be true.
    }
  };
  look();
  setInterval(look, 60_000);
  document.addEventListener("visibilitychange", () => document.hidden || look());
})();
