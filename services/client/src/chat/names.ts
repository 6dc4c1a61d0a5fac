import { createAction } from "@reduxjs/toolkit";

import type { PublicUser } from "../api/types";

/** What people are called now, wherever their names are shown. */
export const renamed = createAction<PublicUser[]>("people/renamed");
