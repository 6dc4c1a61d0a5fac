import { useState, type FormEvent } from "react";

import { fieldErrors, sentence, type RequestError } from "../../api/problem";
import { Dialog } from "../../ui/dialog";
import { FormAlert } from "./form-alert";
import { PasswordField } from "./password-field";
import { useChangePasswordMutation } from "./session-api";

const EMPTY = { current: "", next: "" };

interface Props {
  email: string;
  onBack(): void;
  onDone(): void;
}

export function ChangePassword({ email, onBack, onDone }: Props) {
  const [values, setValues] = useState(EMPTY);
  const [change, { isLoading, isSuccess, error }] = useChangePasswordMutation();
  const problem = error as RequestError | undefined;
  const errors = fieldErrors(problem);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const { error: failed } = await change({ current_password: values.current, new_password: values.next });
    if (!failed) setValues(EMPTY);
  };

  if (isSuccess) {
    return (
      <Dialog title="Password changed" onClose={onDone}>
        <p role="status" className="text-sm text-muted">
          You stay signed in here. Every other device has been signed out.
        </p>
        <button type="button" className="button-main mt-6 w-full" onClick={onDone}>
          Done
        </button>
      </Dialog>
    );
  }
  return (
    <Dialog title="Change password" onClose={onBack}>
      <form onSubmit={(event) => void submit(event)} noValidate className="space-y-5">
        {problem && <FormAlert>{sentence(problem)}</FormAlert>}
        {/* For password managers: whose password it is. */}
        <input type="email" name="email" autoComplete="username" value={email} readOnly hidden />
        <PasswordField label="Current password" name="current_password" isNew={false} value={values.current} error={errors["current_password"]} onChange={(event) => setValues({ ...values, current: event.target.value })} />
        <PasswordField label="New password" name="new_password" isNew value={values.next} error={errors["new_password"]} onChange={(event) => setValues({ ...values, next: event.target.value })} />
        <p className="text-sm text-muted">Every other device will be signed out.</p>
        <button type="submit" className="button-main min-h-11 w-full" disabled={isLoading}>
          {isLoading ? "Changing…" : "Change password"}
        </button>
      </form>
    </Dialog>
  );
}
