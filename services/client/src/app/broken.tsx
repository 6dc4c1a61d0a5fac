import { useRouteError } from "react-router";

/** An unknown address, or a fault of the client. */
export function Broken() {
  const fault = useRouteError();
  return (
    <main className="grid min-h-full place-items-center p-8 text-center">
      <div>
        <h1 className="text-2xl font-semibold tracking-tight">{fault ? "Something broke" : "There is nothing here"}</h1>
        <p className="mt-2 mb-6 text-muted">
          {fault ? "Nothing you wrote is lost. Loading the chat again helps in most cases." : "The address leads nowhere."}
        </p>
        <a href="/" className="button-main">
          Open the chat
        </a>
      </div>
    </main>
  );
}
