/** Opens a WebSocket of the server with the page's session. `live_socket.ts` reconnects. */

import type { Http } from "./http";

/** `path`: with its query, as `/ws?view=full`. */
export function openSocket(http: Http, path: string): WebSocket {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const protocols = ["fetchml.v1"];
  if (http.token !== null) protocols.push(`fetchml.session.${http.token}`);
  return new WebSocket(`${scheme}://${location.host}${path}`, protocols);
}
