/** The whole page. */
import { useEffect } from "preact/hooks";
import { health, loadHealth } from "./health";

export function App() {
  useEffect(() => void loadHealth(), []);
  return (
    <main>
      <h1>FetchML</h1>
      <p id="health">{health.value ? `The server is ${health.value.status}.` : "Loading…"}</p>
    </main>
  );
}
