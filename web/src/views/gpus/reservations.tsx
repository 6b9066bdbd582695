/** Reservations of GPUs: a list for everybody, and a form for admins. */

import { useState } from "preact/hooks";
import type { Booking, ListBookingsResponse } from "../../api/types";
import { plain, plural, shortId } from "../../format";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { TextField, useForm } from "../../ui/form";
import { announce, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { performIfConfirmed } from "../../ui/perform";
import { ACTION, Table } from "../../ui/table";
import { User } from "../../ui/task_link";
import { At } from "../../ui/time";
import { useRead } from "../../ui/use";

const EVERY_MS = 30_000;
const BLANK = { user_id: "", gpu: "1", starts_at: "", ends_at: "" };

/** Nothing where there are none, and the person may make none. */
export function Reservations() {
  const list = useRead<ListBookingsResponse>("/v1/bookings", {}, EVERY_MS);
  const bookings = list.data.value?.bookings ?? [];
  const [isMaking, setMaking] = useState(false);
  if (bookings.length === 0 && !store.isAdmin.value) return null;
  return (
    <Panel
      title="Reservations"
      aside={
        store.isAdmin.value && !isMaking ? (
          <SmallButton onClick={() => setMaking(true)}>
            Reserve
          </SmallButton>
        ) : (
          plural(bookings.length, "reservation")
        )
      }
    >
      {isMaking && (
        <NewReservation
          onDone={() => {
            setMaking(false);
            void list.refresh();
          }}
        />
      )}
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {bookings.length > 0 && (
        <Table label="Reservations" columns={["For", "GPUs", "From", "To", ACTION]}>
          {bookings.map((booking) => (
            <Row key={booking.id} of={booking} onRemoved={() => void list.refresh()} />
          ))}
        </Table>
      )}
    </Panel>
  );
}

function Row({ of: booking, onRemoved }: { of: Booking; onRemoved: () => void }) {
  function remove(): Promise<boolean> {
    const question = {
      title: "Remove the reservation?",
      text: "Its GPUs are for everybody's tasks at once.",
      action: "Remove",
    };
    return performIfConfirmed(question, async () => {
      await store.http.call("DELETE", `/v1/bookings/${encodeURIComponent(booking.id)}`);
      onRemoved();
      return "Removed the reservation";
    });
  }
  return (
    <tr>
      <th scope="row">{booking.user_id ? <User name={booking.user_id} /> : "another user"}</th>
      <td>
        <code>{booking.gpu_uuids.map((uuid) => plain(shortId(uuid))).join(" ")}</code>
      </td>
      <td>
        <At at={booking.starts_at} />
      </td>
      <td>
        <At at={booking.ends_at} />
      </td>
      <td class="number">
        {store.isAdmin.value && (
          <SmallButton onClick={() => void remove()}>
            Remove
          </SmallButton>
        )}
      </td>
    </tr>
  );
}

function NewReservation({ onDone }: { onDone: () => void }) {
  const form = useForm("reservation", BLANK);

  async function reserve(): Promise<void> {
    const { user_id, gpu, starts_at, ends_at } = form.values;
    const time = (text: string) => (text === "" ? undefined : new Date(text).toISOString());
    const body = {
      user_id: user_id.trim(),
      gpu: /^\d+$/.test(gpu.trim()) ? Number(gpu) : gpu,
      starts_at: time(starts_at),
      ends_at: time(ends_at),
    };
    await store.http.call("POST", "/v1/bookings", { body });
    announce("Reserved");
    onDone();
  }

  return (
    <form noValidate onSubmit={(event) => void form.submit(event, reserve)}>
      <div class="field-grid field-grid-narrow">
        <TextField
          form={form}
          name="user_id"
          label="User"
          help="The name of a key. Only its tasks start there."
        />
        <TextField
          form={form}
          name="gpu"
          label="GPUs"
          help="Their number; the server chooses them."
        />
        <TextField
          form={form}
          name="starts_at"
          label="From"
          help="Empty: now."
          type="datetime-local"
        />
        <TextField
          form={form}
          name="ends_at"
          label="To"
          help="At most 31 days later."
          type="datetime-local"
        />
      </div>
      <Problem text={form.problem} />
      <div class="form-buttons">
        <button type="submit" class="button button-primary">
          Reserve the GPUs
        </button>
        <button type="button" class="button" onClick={onDone}>
          Cancel
        </button>
      </div>
    </form>
  );
}
