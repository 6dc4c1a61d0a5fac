import { skipToken } from "@reduxjs/toolkit/query/react";
import { useState, type FormEvent } from "react";

import { chatApi } from "../../api/chat-api";
import { fieldErrors, sentence, type RequestError } from "../../api/problem";
import { LIMITS } from "../../api/types";
import { useLive } from "../../chat/live";
import { forgotten } from "../../chat/log";
import { useAppDispatch, useAppSelector } from "../../chat/state";
import { Dialog } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { ChangePassword } from "./change-password";
import { announceSignOut } from "./other-tabs";
import { Keys } from "./keys";
import { useProfileQuery, useRenameMutation, useSignOutMutation } from "./session-api";
import { ThemeChoice } from "./theme-choice";

export function AccountDialog({ onClose }: { onClose(): void }) {
  const user = useAppSelector((state) => state.session.user);
  const unsent = useAppSelector((state) => state.outbox.ids.length);
  const [asking, setAsking] = useState(false);
  const [changing, setChanging] = useState(false);
  useProfileQuery(user?.id ?? skipToken, { refetchOnMountOrArgChange: true });
  const dispatch = useAppDispatch();
  const live = useLive();
  const [signOut, { isLoading, error }] = useSignOutMutation();

  const leave = async () => {
    const { error: failed } = await signOut();
    if (failed && (failed as RequestError).kind !== "problem") return;
    // Other tabs keep the database open until they hear of it.
    announceSignOut();
    void live.destroy();
    dispatch(forgotten());
    dispatch(chatApi.util.resetApiState());
  };

  if (!user) return null;
  if (changing) return <ChangePassword email={user.email} onBack={() => setChanging(false)} onDone={onClose} />;
  if (asking) {
    return (
      <Dialog title="Sign out?" onClose={() => setAsking(false)}>
        <p className="text-sm text-muted">
          {unsent === 1 ? "One message is" : `${unsent} messages are`} not sent yet. Signing out deletes what is kept on this device.
        </p>
        {error && <p role="alert" className="mt-3 text-sm text-signal">{sentence(error as RequestError)}</p>}
        <div className="mt-5 flex flex-wrap justify-end gap-2">
          <button type="button" className="button-quiet" onClick={() => setAsking(false)}>
            Stay signed in
          </button>
          <button type="button" className="button bg-signal text-on-signal" disabled={isLoading} onClick={() => void leave()}>
            Sign out and delete them
          </button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title="Your account" onClose={onClose}>
      <p className="mb-5 text-sm text-muted">
        {user.username} · {user.email}
      </p>
      <Rename current={user.display_name} />
      <ThemeChoice />
      <Keys />
      {error && <p role="alert" className="mt-4 text-sm text-signal">{sentence(error as RequestError)}</p>}
      <button type="button" className="button-quiet mt-7 w-full" onClick={() => setChanging(true)}>
        Change password
      </button>
      <button type="button" className="button-quiet mt-3 w-full" disabled={isLoading} onClick={() => (unsent > 0 ? setAsking(true) : void leave())}>
        Sign out
      </button>
    </Dialog>
  );
}

function Rename({ current }: { current: string }) {
  /** Null shows the name as it is, also when it changes on another device. */
  const [name, setName] = useState<string | null>(null);
  const next = (name ?? current).trim();
  const [rename, { isLoading, isSuccess, error }] = useRenameMutation();
  const problem = error as RequestError | undefined;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void rename({ display_name: next });
  };
  return (
    <form onSubmit={submit} noValidate>
      <Field
        label="Display name"
        name="display_name"
        autoComplete="name"
        maxLength={LIMITS.display_name_chars_max}
        value={name ?? current}
        error={problem && (fieldErrors(problem)["display_name"] ?? sentence(problem))}
        onChange={(event) => setName(event.target.value)}
      />
      <div className="mt-3 flex items-center gap-3">
        <button type="submit" className="button-quiet" disabled={isLoading || next === ""}>
          Save
        </button>
        <p role="status" className="text-sm text-muted">
          {isSuccess && next === current ? "Saved." : ""}
        </p>
      </div>
    </form>
  );
}
