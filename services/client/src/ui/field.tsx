import { useId, type InputHTMLAttributes, type ReactNode } from "react";

interface Props extends InputHTMLAttributes<HTMLInputElement> {
  label: string;
  error?: string | undefined;
  hint?: ReactNode;
  /** Stands at the end of the input, for example "show password". */
  aside?: ReactNode;
}

/** An input with its label, its hint and what is wrong with it. */
export function Field({ label, error, hint, aside, ...input }: Props) {
  const id = useId();
  const described = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div>
      <label htmlFor={id} className="mb-1.5 block text-sm font-medium">
        {label}
      </label>
      <div className="relative">
        <input {...input} id={id} className={`field ${aside ? "pr-12" : ""}`} aria-invalid={error ? true : undefined} aria-describedby={described || undefined} />
        {aside}
      </div>
      {hint && (
        <div id={`${id}-hint`} className="mt-1.5 text-[0.8125rem] text-muted">
          {hint}
        </div>
      )}
      {error && (
        <p id={`${id}-error`} className="mt-1.5 text-[0.8125rem] font-medium text-signal">
          {error}
        </p>
      )}
    </div>
  );
}
