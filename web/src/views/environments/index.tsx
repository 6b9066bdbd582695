/** The environments that the server keeps for the person's tasks; an admin's are those of all. */

import { useTitle } from "../../ui/use";
import { Environments } from "./list";

export default function EnvironmentsView() {
  useTitle("Environments");
  return (
    <div class="view">
      <header class="view-head">
        <h1>Environments</h1>
      </header>
      <Environments />
    </div>
  );
}
