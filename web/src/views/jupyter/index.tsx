/** Notebooks on the host: start one, open it, stop it, and see when it would be stopped as idle. */

import { useState } from "preact/hooks";
import { ms, plain, plural, relative } from "../../format";
import { slowNow } from "../../state/clock";
import { Resource } from "../../state/resource";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { performIfConfirmed } from "../../ui/perform";
import { User } from "../../ui/task_link";
import { Ago } from "../../ui/time";
import { useRead, useTitle } from "../../ui/use";
import { isLive, link, needs, type Service } from "./service";
import { StartForm } from "./start_form";

const EVERY_MS = 3_000;
const SHOWN_ENDED = 20;

export default function Jupyter() {
  useTitle("Jupyter");
  const [isStarting, setStarting] = useState(false);
  const list = useRead<Service[]>("/v1/jupyter/services", { view: "full", limit: 200 }, EVERY_MS);
  const services = list.data.value;
  const live = services?.filter(isLive) ?? [];
  const ended = services?.filter((service) => !isLive(service)) ?? [];
  return (
    <div class="view jupyter">
      <header class="view-head">
        <h1>Jupyter</h1>
        {store.maySubmit.value && !isStarting && (
          <button
            type="button"
            class="button button-primary view-action"
            onClick={() => setStarting(true)}
          >
            Start a service
          </button>
        )}
      </header>
      {isStarting && (
        <StartForm
          onClose={() => setStarting(false)}
          onStarted={(service) => {
            setStarting(false);
            list.set([service, ...(services ?? [])]);
          }}
        />
      )}
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {!services ? (
        !list.error.value && <Loading />
      ) : (
        <Panel title="Services" aside={plural(live.length, "service")}>
          {live.length === 0 ? (
            <Empty>No notebook server runs.</Empty>
          ) : (
            <ul class="rows">
              {live.map((service) => (
                <Row key={service.id} service={service} list={list} />
              ))}
            </ul>
          )}
        </Panel>
      )}
      {ended.length > 0 && (
        <Panel title="Ended">
          <ul class="rows">
            {ended.slice(0, SHOWN_ENDED).map((service) => (
              <Row key={service.id} service={service} list={list} />
            ))}
          </ul>
        </Panel>
      )}
    </div>
  );
}

const ICONS = {
  starting: "preparing",
  running: "running",
  stopping: "collecting",
  stopped: "completed",
  error: "failed",
} as const;

function Row({ service, list }: { service: Service; list: Resource<Service[]> }) {
  const [isStopping, setStopping] = useState(false);
  const isMine = store.mayEnd(service.user_id);
  const mayStop = isMine && isLive(service) && service.status !== "stopping";
  const address = link(service);

  async function stop(): Promise<void> {
    const question = {
      title: `Stop ${plain(service.name)}?`,
      text: "Its kernels end, and what they hold in memory is lost. The files of its workspace stay.",
      action: "Stop",
    };
    await performIfConfirmed(question, async () => {
      setStopping(true);
      await store.http.call("DELETE", `/v1/jupyter/services/${encodeURIComponent(service.id)}`);
      await list.refresh();
      return `Stopped ${plain(service.name)}`;
    });
    setStopping(false);
  }

  return (
    <li class="row service">
      <span class={`status status-${ICONS[service.status]}`}>
        <Icon name={ICONS[service.status]} />
        {service.status}
      </span>
      <div class="row-main">
        <span class="task-name clipped" title={service.name}>
          {plain(service.name)}
        </span>
        <div class="row-detail service-detail">
          <User name={service.user_id} />
          <span>{needs(service)}</span>
          {service.workspace && <code>{plain(service.workspace)}</code>}
          <span>
            {service.started_at ? (
              <>
                started <Ago at={service.started_at} />
              </>
            ) : (
              <>
                created <Ago at={service.created_at} />
              </>
            )}
          </span>
          {isLive(service) && service.last_activity && (
            <span>
              last used <Ago at={service.last_activity} />
            </span>
          )}
        </div>
        {service.reason && <p class="service-reason">{plain(service.reason)}</p>}
        {isLive(service) && <Idle stopsAt={service.stops_at} />}
      </div>
      <div class="service-buttons">
        {address && (
          <a class="button button-small" href={address} target="_blank" rel="noopener noreferrer">
            <Icon name="external" />
            Open
          </a>
        )}
        {mayStop && (
          <SmallButton icon="stop" disabled={isStopping} onClick={() => void stop()}>
            Stop
          </SmallButton>
        )}
      </div>
    </li>
  );
}

function Idle({ stopsAt }: { stopsAt: string | undefined }) {
  const at = ms(stopsAt);
  if (at === undefined) return null;
  return (
    <p class="service-idle">
      <Icon name="warning" />
      Nobody uses it: it will be stopped {relative(at, slowNow.value)}. Run a cell to keep it.
    </p>
  );
}
