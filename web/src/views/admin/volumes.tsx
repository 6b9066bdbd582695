/** The volumes that the admin's own tasks may mount. */

import type { VolumeStorage } from "../../api/types";
import { bytes, count, plain, plural } from "../../format";
import { Panel } from "../../ui/panel";
import { number, Table } from "../../ui/table";

export function Volumes({ volumes }: { volumes: readonly VolumeStorage[] }) {
  return (
    <Panel title="Volumes" aside={plural(volumes.length, "volume")}>
      <Table label="Volumes" columns={["Name", "Tasks may", ...["Size", "Limit", "Files"].map(number)]}>
        {volumes.map((one) => (
          <tr key={one.name}>
            <th scope="row">{plain(one.name)}</th>
            <td>{one.read_only ? "read" : "read and write"}</td>
            <td class="number">{one.bytes === undefined ? "not measured" : bytes(one.bytes)}</td>
            <td class="number">{one.max_bytes === undefined ? "" : bytes(one.max_bytes)}</td>
            <td class="number">{one.files === undefined ? "" : count(one.files)}</td>
          </tr>
        ))}
      </Table>
    </Panel>
  );
}
