import { useState, type FormEvent } from "react";
import { Link, useLocation } from "react-router";

import { fieldErrors, sentence, type RequestError } from "../../api/problem";
import { LIMITS } from "../../api/types";
import { useAppDispatch } from "../../chat/state";
import { currentUser } from "../../chat/session";
import { Field } from "../../ui/field";
import { FormAlert } from "./form-alert";
import { SessionFrame } from "./frame";
import { PasswordField } from "./password-field";
import { useSignUpMutation } from "./session-api";

export function SignUpPage() {
  const dispatch = useAppDispatch();
  const { search } = useLocation();
  const [values, setValues] = useState({ username: "", email: "", password: "" });
  const [signUp, { isLoading, error }] = useSignUpMutation();
  const problem = error as RequestError | undefined;
  const errors = fieldErrors(problem);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const { data } = await signUp({
      username: values.username.trim(),
      email: values.email.trim(),
      password: values.password,
    });
    if (data) void dispatch(currentUser.initiate(undefined, { subscribe: false, forceRefetch: true }));
  };

  return (
    <SessionFrame title="Create your account" lead="It takes a minute, and you can write at once.">
      <form onSubmit={submit} noValidate className="space-y-5">
        {problem && <FormAlert>{sentence(problem)}</FormAlert>}
        <Field label="Username" name="username" autoComplete="nickname" autoCapitalize="none" spellCheck={false} required value={values.username} error={errors["username"]} hint={`How others find you; from ${LIMITS.username_chars_min} to ${LIMITS.username_chars_max} characters.`} onChange={(event) => setValues({ ...values, username: event.target.value })} />
        <Field label="E-mail" name="email" type="email" autoComplete="username" required value={values.email} error={errors["email"]} onChange={(event) => setValues({ ...values, email: event.target.value })} />
        <PasswordField isNew value={values.password} error={errors["password"]} onChange={(event) => setValues({ ...values, password: event.target.value })} />
        <button type="submit" className="button-main min-h-11 w-full" disabled={isLoading}>
          {isLoading ? "Creating…" : "Create account"}
        </button>
      </form>
      <p className="mt-8 text-sm text-muted">
        Been here before?{" "}
        <Link to={{ pathname: "/sign-in", search }} className="font-semibold text-accent underline underline-offset-4">
          Sign in
        </Link>
      </p>
    </SessionFrame>
  );
}
