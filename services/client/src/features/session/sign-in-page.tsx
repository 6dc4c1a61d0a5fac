import { useState, type FormEvent } from "react";
import { Link, useLocation } from "react-router";

import { fieldErrors, sentence, type RequestError } from "../../api/problem";
import { useAppDispatch } from "../../chat/state";
import { currentUser } from "../../chat/session";
import { Field } from "../../ui/field";
import { FormAlert } from "./form-alert";
import { SessionFrame } from "./frame";
import { PasswordField } from "./password-field";
import { useSignInMutation } from "./session-api";

export function SignInPage() {
  const dispatch = useAppDispatch();
  const { search } = useLocation();
  const [values, setValues] = useState({ email: "", password: "" });
  const [signIn, { isLoading, error }] = useSignInMutation();
  const problem = error as RequestError | undefined;
  const errors = fieldErrors(problem);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const { data } = await signIn({ email: values.email.trim(), password: values.password });
    // The guard of the routes goes on when the user is known.
    if (data) void dispatch(currentUser.initiate(undefined, { subscribe: false, forceRefetch: true }));
  };

  return (
    <SessionFrame title="Welcome back" lead="Sign in to go on where you left off.">
      <form onSubmit={submit} noValidate className="space-y-5">
        {problem && <FormAlert>{sentence(problem)}</FormAlert>}
        <Field label="E-mail" name="email" type="email" autoComplete="username" required value={values.email} error={errors["email"]} onChange={(event) => setValues({ ...values, email: event.target.value })} />
        <PasswordField isNew={false} value={values.password} error={errors["password"]} onChange={(event) => setValues({ ...values, password: event.target.value })} />
        <button type="submit" className="button-main min-h-11 w-full" disabled={isLoading}>
          {isLoading ? "Signing in…" : "Sign in"}
        </button>
      </form>
      <p className="mt-8 text-sm text-muted">
        New here?{" "}
        <Link to={{ pathname: "/sign-up", search }} className="font-semibold text-accent underline underline-offset-4">
          Create an account
        </Link>
      </p>
    </SessionFrame>
  );
}
