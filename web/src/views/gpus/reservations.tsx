/** Reservations of GPUs: a list for everybody, and a form for admins. */

import { useMemo, useState } from "preact/hooks";
import { ApiError, message } from "../../api/http";
import type { Booking, BookingList } from "../../api/types";
import { violations } from "../../api/violations";
import { plain, plural, shortId } from "../../format";
import { Resource } from "../../state/resource";
import { store } from "../../state/store";
import { confirmed } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { announce, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { User } from "../../ui/task_link";
import { At } from "../../ui/time";
import { useResource } from "../../ui/use";

const EVERY_MS = 30_000;
const FIELDS = ["user_id", "gpu", "starts_at", "ends_at"] as const;
const BLANK = { user_id: "", gpu: "1", starts_at: "", ends_at: "" };

/** Nothing where there are none, and the person may make none. */
export function Reservations() {
  const list = useMemo(
    () => new Resource((signal) => store.http.get<BookingList>("/v1/bookings", { signal })),
    [],
  );
  const bookings = useResource(list, EVERY_MS).data.value?.bookings ?? [];
  const [isMaking, setMaking] = useState(false);
  if (bookings.length === 0 && !store.isAdmin.value) return null;
  return (
    <Panel
      title="Reservations"
      aside={
        store.isAdmin.value && !isMaking ? (
          <button type="button" class="button button-small" onClick={() => setMaking(true)}>
            Reserve
          </button>
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
        <div class="table-box" tabIndex={0} role="region" aria-label="Reservations">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">For</th>
                <th scope="col">GPUs</th>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col">
                  <span class="off-screen">Action</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {bookings.map((booking) => (
                <Row key={booking.id} of={booking} onRemoved={() => void list.refresh()} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function Row({ of: booking, onRemoved }: { of: Booking; onRemoved: () => void }) {
  async function remove(): Promise<void> {
    const yes = await confirmed({
      title: "Remove the reservation?",
      text: "Its GPUs are for everybody's tasks at once.",
      action: "Remove",
      danger: true,
    });
    if (!yes) return;
    try {
      await store.http.call("DELETE", `/v1/bookings/${encodeURIComponent(booking.id)}`);
      announce("Removed the reservation");
      onRemoved();
    } catch (error) {
      announce(message(error), "problem");
    }
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
          <button type="button" class="button button-small" onClick={() => void remove()}>
            Remove
          </button>
        )}
      </td>
    </tr>
  );
}

function NewReservation({ onDone }: { onDone: () => void }) {
  const [values, setValues] = useState(BLANK);
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const [problem, setProblem] = useState<string>();

  async function reserve(event: Event): Promise<void> {
    event.preventDefault();
    const time = (text: string) => (text === "" ? undefined : new Date(text).toISOString());
    const body = {
      user_id: values.user_id.trim(),
      gpu: /^\d+$/.test(values.gpu.trim()) ? Number(values.gpu) : values.gpu,
      starts_at: time(values.starts_at),
      ends_at: time(values.ends_at),
    };
    try {
      await store.http.call("POST", "/v1/bookings", { body });
      announce("Reserved");
      onDone();
    } catch (error) {
      const found =
        error instanceof ApiError ? violations(error.message, FIELDS) : new Map<string, string>();
      setErrors(found);
      setProblem(found.size > 0 ? undefined : message(error));
    }
  }

  const field = (name: (typeof FIELDS)[number], label: string, help: string, type: "text" | "datetime-local") => (
    <Field
      form="reservation"
      name={name}
      label={label}
      help={help}
      error={errors.get(name)}
      control={(attributes) => {
        const shared = {
          ...attributes,
          autocomplete: "off",
          value: values[name],
          onInput: (event: { currentTarget: { value: string } }) =>
            setValues({ ...values, [name]: event.currentTarget.value }),
        };
        return type === "text" ? (
          <input {...shared} type="text" />
        ) : (
          <input {...shared} type="datetime-local" />
        );
      }}
    />
  );
  return (
    <form noValidate onSubmit={(event) => void reserve(event)}>
      <div class="field-grid field-grid-narrow">
        {field("user_id", "User", "The name of a key. Only its tasks start there.", "text")}
        {field("gpu", "GPUs", "Their number; the server chooses them.", "text")}
        {field("starts_at", "From", "Empty: now.", "datetime-local")}
        {field("ends_at", "To", "At most 31 days later.", "datetime-local")}
      </div>
      <Problem text={problem} />
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
