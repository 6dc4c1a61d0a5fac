import { useState, type ChangeEventHandler } from "react";

import { LIMITS } from "../../api/types";
import { Field } from "../../ui/field";
import { Icon } from "../../ui/icon";
import { strength } from "./strength";

interface Props {
  label?: string;
  name?: string;
  value: string;
  onChange: ChangeEventHandler<HTMLInputElement>;
  error?: string | undefined;
  /** A new password is rated while it is typed. */
  isNew: boolean;
}

export function PasswordField({ label = "Password", name = "password", value, onChange, error, isNew }: Props) {
  const [shown, setShown] = useState(false);
  return (
    <div>
      <Field
        label={label}
        name={name}
        type={shown ? "text" : "password"}
        autoComplete={isNew ? "new-password" : "current-password"}
        required
        spellCheck={false}
        autoCapitalize="none"
        value={value}
        onChange={onChange}
        error={error}
        hint={isNew ? `At least ${LIMITS.password_chars_min} characters. A few words work well.` : undefined}
        aside={
          <button
            type="button"
            className="icon-button absolute top-1/2 right-1 size-9 -translate-y-1/2"
            aria-label={`${shown ? "Hide" : "Show"} ${label.toLowerCase()}`}
            onClick={() => setShown(!shown)}
          >
            <Icon name={shown ? "hidden" : "eye"} />
          </button>
        }
      />
      {isNew && value !== "" && <Meter password={value} />}
    </div>
  );
}

const COLOURS = ["bg-signal", "bg-signal", "bg-on-warn", "bg-accent", "bg-accent"];

function Meter({ password }: { password: string }) {
  const { score, words } = strength(password);
  return (
    <div className="mt-2 flex items-center gap-3">
      <div className="grid flex-1 grid-cols-4 gap-1" aria-hidden="true">
        {[1, 2, 3, 4].map((step) => (
          <span key={step} className={`h-1 rounded-full ${step <= Math.max(score, 1) ? COLOURS[score] : "bg-line"}`} />
        ))}
      </div>
      <p role="status" className="text-xs text-muted">
        <span className="sr-only">Password strength: </span>
        {words}
      </p>
    </div>
  );
}
