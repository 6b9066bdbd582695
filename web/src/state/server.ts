/** What the server says about itself, and of what the person may use. */

import type { ServerInfo } from "../api/server_info";
import { Resource } from "./resource";
import { store } from "./store";

export const server = new Resource((signal) =>
  store.http.get<ServerInfo>("/v1/server", { query: { view: "full" }, signal }),
);
