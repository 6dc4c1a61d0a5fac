import { createAction } from "@reduxjs/toolkit";

import type { LogEvent } from "../api/types";

/**
 * The next entry of a conversation's log. Only the socket's protocol dispatches
 * it, after it made sure that nothing is missing before the entry.
 */
export const logged = createAction<{ event: LogEvent; me: string }>("log/entry");

/** The session is over: forget everything that belonged to it. */
export const forgotten = createAction("forgotten");
