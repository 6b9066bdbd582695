/** API keys: all of them, and their end. */

import { useState } from "preact/hooks";
import type { Key, ListKeysResponse } from "../../api/types";
import { ms, plain, plural } from "../../format";
import { slowNow } from "../../state/clock";
import { Resource } from "../../state/resource";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { Check } from "../../ui/field";
import { Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { performIfConfirmed } from "../../ui/perform";
import { ACTION, Table } from "../../ui/table";
import { Ago, At } from "../../ui/time";
import { useRead } from "../../ui/use";
import { NewKey } from "./new_key";

export function Keys() {
  const [showsEnded, setShowsEnded] = useState(false);
  const list = useRead<ListKeysResponse>("/v1/keys");
  const keys = list.data.value?.keys;
  const valid = keys?.filter((key) => !isOver(key));
  const shown = (showsEnded ? keys : valid)?.toReversed();
  return (
    <>
      <NewKey onCreated={() => void list.refresh()} />
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {!shown || !keys || !valid ? (
        !list.error.value && <Loading />
      ) : (
        <Panel
          title="All keys"
          aside={
            keys.length > valid.length && (
              <Check isOn={showsEnded} onChange={setShowsEnded}>
                {plural(keys.length - valid.length, "key")} revoked or expired
              </Check>
            )
          }
        >
          <Table label="Keys" columns={["Name", "Role", "Created", "Last used", "Expires", ACTION]}>
            {shown.map((key) => (
              <Row key={key.id} of={key} list={list} />
            ))}
          </Table>
        </Panel>
      )}
    </>
  );
}

function isOver(key: Key): boolean {
  const end = ms(key.expires_at);
  return key.revoked_at !== undefined || (end !== undefined && end <= slowNow.value);
}

function Row({ of: key, list }: { of: Key; list: Resource<ListKeysResponse> }) {
  function revoke(): Promise<boolean> {
    const question = {
      title: `Revoke the key of ${plain(key.name)}?`,
      text: "It stops working at once, with the sessions and streams that it holds open. This cannot be undone.",
      action: "Revoke",
    };
    return performIfConfirmed(question, async () => {
      await store.http.call("POST", `/v1/keys/${encodeURIComponent(key.id)}/revoke`);
      await list.refresh();
      return `Revoked the key of ${plain(key.name)}`;
    });
  }
  return (
    <tr>
      <th scope="row">{plain(key.name)}</th>
      <td>{key.role}</td>
      <td>
        <At at={key.created_at} />
      </td>
      <td>{key.last_used_at ? <Ago at={key.last_used_at} /> : <span class="muted">never</span>}</td>
      <td>
        {key.revoked_at ? (
          <span class="muted">
            revoked <Ago at={key.revoked_at} />
          </span>
        ) : key.expires_at ? (
          <Ago at={key.expires_at} />
        ) : (
          <span class="muted">never</span>
        )}
      </td>
      <td class="number">
        {!isOver(key) && (
          <SmallButton
            aria-label={`Revoke the key of ${plain(key.name)}`}
            onClick={() => void revoke()}
          >
            Revoke
          </SmallButton>
        )}
      </td>
    </tr>
  );
}
