/** The search field of the log, with the place among the matches. */

import { useState } from "preact/hooks";
import { count } from "../../../format";
import { IconButton } from "../../../ui/button";
import { Icon } from "../../../ui/icon";
import type { LogSearch } from "./search";

interface Props {
  search: LogSearch;
  onShow: (offset: number) => void;
}

export function SearchBar({ search, onShow }: Props) {
  const [text, setText] = useState("");

  async function find(): Promise<void> {
    const match = await search.start(text);
    if (match) onShow(match.line_offset);
  }

  function move(step: -1 | 1): void {
    const match = search.move(step);
    if (match) onShow(match.line_offset);
  }

  return (
    <form
      class="log-search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        if (text !== "" && text === search.query.value) move(-1);
        else void find();
      }}
    >
      <label class="filter-search">
        <Icon name="search" />
        <span class="off-screen">Search the whole log</span>
        <input
          type="search"
          value={text}
          maxLength={256}
          placeholder="Search the whole log"
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => {
            setText(event.currentTarget.value);
            if (event.currentTarget.value === "") void search.start("");
          }}
        />
      </label>
      <IconButton
        icon="up"
        label="Previous match"
        disabled={search.matches.value.length === 0}
        onClick={() => move(-1)}
      />
      <IconButton
        icon="down"
        label="Next match"
        disabled={search.matches.value.length === 0}
        onClick={() => move(1)}
      />
      <span class="log-matches muted number" role="status">
        {words(search)}
      </span>
    </form>
  );
}

function words(search: LogSearch): string {
  const number = search.matches.value.length;
  if (search.problem.value) return search.problem.value;
  if (search.query.value === "") return "";
  if (number === 0) return search.isSearching.value ? "Searching…" : "No match";
  const place = number - search.index.value;
  const more = search.isCut.value || search.isSearching.value ? "+" : "";
  return `${count(place)} of ${count(number)}${more}`;
}
