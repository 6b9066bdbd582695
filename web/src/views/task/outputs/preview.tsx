/** The preview of an output file: a picture, sound, a table, JSON or text. */

import { useEffect, useState } from "preact/hooks";
import { readBlob } from "../../../api/download";
import { isAbort, message } from "../../../api/http";
import type { TaskOutput } from "../../../api/model";
import { bytes, plain } from "../../../format";
import { store } from "../../../state/store";
import { Empty, Loading, Problem } from "../../../ui/notes";
import { parseCsv, separatorOf } from "../../../state/csv";
import { kindOf, MEDIA_BYTES, TEXT_BYTES, type Kind } from "./kinds";

interface Props {
  path: string;
  output: TaskOutput;
}

export function Preview({ path, output }: Props) {
  const kind = kindOf(output.path);
  const size = Number(output.size_bytes);
  if (!kind) return <Empty>There is no preview for this kind of file.</Empty>;
  if (size === 0) return <Empty>The file is empty.</Empty>;
  switch (kind.is) {
    case "picture":
    case "audio":
    case "video":
      return size > MEDIA_BYTES ? (
        <Empty>The file is too large for a preview ({bytes(size)}).</Empty>
      ) : (
        <Media path={path} name={output.path} kind={kind} />
      );
    default:
      return <Text path={path} name={output.path} kind={kind} size={size} />;
  }
}

type MediaKind = Extract<Kind, { type: string }>;

function Media({ path, name, kind }: { path: string; name: string; kind: MediaKind }) {
  const [address, setAddress] = useState<string>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    const reading = new AbortController();
    let made: string | undefined;
    readBlob(path, kind.type, reading.signal).then(
      (blob) => {
        if (reading.signal.aborted) return;
        made = URL.createObjectURL(blob);
        setAddress(made);
      },
      (error: unknown) => {
        if (!isAbort(error)) setProblem(message(error));
      },
    );
    return () => {
      reading.abort();
      if (made !== undefined) URL.revokeObjectURL(made);
    };
  }, [path, kind.type]);
  if (problem) return <Problem text={problem} />;
  if (address === undefined) return <Loading />;
  const onError = () => setProblem("The browser cannot show this file. Download it instead.");
  if (kind.is === "picture")
    return <img class="preview-picture" src={address} alt={plain(name)} onError={onError} />;
  const Player = kind.is;
  return <Player class="preview-media" src={address} controls onError={onError} />;
}

interface TextProps {
  path: string;
  name: string;
  kind: Kind;
  size: number;
}

function Text({ path, name, kind, size }: TextProps) {
  const [text, setText] = useState<string>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    const reading = new AbortController();
    setText(undefined);
    setProblem(undefined);
    readStart(path, size, reading.signal).then(setText, (error: unknown) => {
      if (!isAbort(error)) setProblem(message(error));
    });
    return () => reading.abort();
  }, [path, size]);
  if (problem) return <Problem text={problem} />;
  if (text === undefined) return <Loading />;
  const isCut = size > TEXT_BYTES;
  if (kind.is === "table") return <CsvTable text={text} name={name} isCut={isCut} />;
  return (
    <>
      <pre class="preview-text" tabIndex={0}>
        {kind.is === "json" && !isCut ? indented(text) : text}
      </pre>
      {isCut && <p class="preview-note">The first {bytes(TEXT_BYTES)} of {bytes(size)}.</p>}
    </>
  );
}

/** Read the first bytes of a file, without the rest of it. */
async function readStart(path: string, size: number, signal: AbortSignal): Promise<string> {
  const headers: Record<string, string> =
    size > TEXT_BYTES ? { Range: `bytes=0-${TEXT_BYTES - 1}` } : {};
  const reply = await store.http.send("GET", path, { headers, signal });
  const reader = reply.body?.getReader();
  if (!reader) return "";
  const decoder = new TextDecoder();
  let text = "";
  for (let read = 0; read < TEXT_BYTES; ) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value.subarray(0, TEXT_BYTES - read), { stream: true });
    read += value.length;
  }
  await reader.cancel();
  // A file that is no text after all.
  return text.includes("\u0000") ? "This file is binary." : text;
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function CsvTable({ text, name, isCut }: { text: string; name: string; isCut: boolean }) {
  const whole = isCut ? text.slice(0, text.lastIndexOf("\n") + 1) || text : text;
  const table = parseCsv(whole, separatorOf(whole, name.toLowerCase()));
  const [head, ...rows] = table.rows;
  if (!head) return <Empty>The file has no rows.</Empty>;
  return (
    <>
      <div class="preview-table" tabIndex={0} role="region" aria-label={plain(name)}>
        <table>
          <thead>
            <tr>
              {head.map((cell, index) => (
                <th key={index} scope="col">
                  {plain(cell)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, index) => (
              <tr key={index}>
                {row.map((cell, column) => (
                  <td key={column} class={isNumber(cell) ? "number-cell" : ""}>
                    {plain(cell)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {(isCut || table.isCut) && <p class="preview-note">Only the first rows are shown.</p>}
    </>
  );
}

function isNumber(cell: string): boolean {
  return cell.trim() !== "" && Number.isFinite(Number(cell));
}
