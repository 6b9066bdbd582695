/** The volumes that the admin's own tasks may mount. */

import type { VolumeStorage } from "../../api/types";
import { bytes, count, plain, plural } from "../../format";
import { Panel } from "../../ui/panel";

export function Volumes({ volumes }: { volumes: readonly VolumeStorage[] }) {
  return (
    <Panel title="Volumes" aside={plural(volumes.length, "volume")}>
      <div class="table-box" tabIndex={0} role="region" aria-label="Volumes">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Tasks may</th>
              {["Size", "Limit", "Files"].map((name) => (
                <th key={name} scope="col" class="number">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {volumes.map((one) => (
              <tr key={one.name}>
                <th scope="row">{plain(one.name)}</th>
                <td>{one.read_only ? "read" : "read and write"}</td>
                <td class="number">{one.bytes === undefined ? "not measured" : bytes(one.bytes)}</td>
                <td class="number">{one.max_bytes === undefined ? "" : bytes(one.max_bytes)}</td>
                <td class="number">{one.files === undefined ? "" : count(one.files)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
