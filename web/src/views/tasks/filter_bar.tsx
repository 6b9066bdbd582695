/** The filters of the task list. Each is a parameter of the address. */

import { useState } from "preact/hooks";
import { STATUSES } from "../../api/model";
import { EVERYONE, type Filter } from "../../filters";
import { plain } from "../../format";
import { setQuery } from "../../router";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { TextFilter } from "../../ui/text_filter";

export function FilterBar({ filter }: { filter: Filter }) {
  const { name, experiment, sweep, after, before, labels } = filter;
  const rare = [name, experiment, sweep, after, before, labels[0]];
  const [isOpen, setOpen] = useState(rare.some(Boolean));
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <div class="filters-row">
        <StatusFilter filter={filter} />
        {(store.othersExist.value || filter.user) && <UserFilter filter={filter} />}
        <label class="filter-search">
          <Icon name="search" />
          <span class="off-screen">Search name, id, command, error</span>
          <TextFilter
            type="search"
            value={filter.text ?? ""}
            placeholder="Search name, id, command, error"
            onChange={(text) => setQuery({ q: text })}
          />
        </label>
        <SmallButton aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Fewer filters" : "More filters"}
        </SmallButton>
      </div>
      {isOpen && <RareFilters filter={filter} />}
    </form>
  );
}

function StatusFilter({ filter }: { filter: Filter }) {
  const toggle = (status: (typeof STATUSES)[number]) => {
    const chosen = filter.states.includes(status)
      ? filter.states.filter((one) => one !== status)
      : [...filter.states, status];
    setQuery({ status: chosen.join(",") });
  };
  return (
    <div class="chips" role="group" aria-label="Status">
      {STATUSES.map((status) => (
        <button
          key={status}
          type="button"
          class={`chip status-${status}`}
          aria-pressed={filter.states.includes(status)}
          onClick={() => toggle(status)}
        >
          <Icon name={status} />
          {status}
        </button>
      ))}
    </div>
  );
}

function UserFilter({ filter }: { filter: Filter }) {
  const own = store.session.value?.user;
  const another = filter.user !== undefined && filter.user !== own ? filter.user : undefined;
  return (
    <label class="filter-user">
      <span class="off-screen">User</span>
      <select
        value={filter.user ?? EVERYONE}
        onChange={(event) => setQuery({ user: event.currentTarget.value })}
      >
        <option value={EVERYONE}>Everyone’s</option>
        {own !== undefined && <option value={own}>Mine</option>}
        {another !== undefined && <option value={another}>{plain(another)}</option>}
      </select>
    </label>
  );
}

function RareFilters({ filter }: { filter: Filter }) {
  const setLabels = (text: string) => setQuery({ label: text.split(",").map((one) => one.trim()) });
  return (
    <div class="filters-rare">
      <label class="field">
        <span class="field-name">Name begins with</span>
        <TextFilter value={filter.name ?? ""} onChange={(text) => setQuery({ name: text })} />
      </label>
      <label class="field">
        <span class="field-name">Label</span>
        <TextFilter
          value={filter.labels.join(",")}
          placeholder="key=value, or key"
          onChange={setLabels}
        />
      </label>
      <label class="field">
        <span class="field-name">User</span>
        <TextFilter
          value={filter.user ?? ""}
          onChange={(text) => setQuery({ user: text || EVERYONE })}
        />
      </label>
      <label class="field">
        <span class="field-name">Experiment id</span>
        <TextFilter
          value={filter.experiment ?? ""}
          onChange={(text) => setQuery({ experiment: text })}
        />
      </label>
      <label class="field">
        <span class="field-name">Sweep id</span>
        <TextFilter value={filter.sweep ?? ""} onChange={(text) => setQuery({ sweep: text })} />
      </label>
      <label class="field">
        <span class="field-name">Created from</span>
        <input
          type="date"
          value={filter.after?.slice(0, 10) ?? ""}
          onChange={(event) => setQuery({ after: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span class="field-name">Created until</span>
        <input
          type="date"
          value={filter.before?.slice(0, 10) ?? ""}
          onChange={(event) => setQuery({ before: event.currentTarget.value })}
        />
      </label>
    </div>
  );
}
