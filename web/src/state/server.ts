/** The server's description of itself, and of what the person may use. */

import type { ServerInfo } from "../api/types";
import { Resource } from "./resource";
import { store } from "./store";

export const server = new Resource((signal) => store.http.get<ServerInfo>("/v1/server", { signal }));
