import type { ReactNode } from "react";

/** The page around signing in and signing up. */
export function SessionFrame({ title, lead, children }: { title: string; lead: string; children: ReactNode }) {
  return (
    <div className="grid min-h-full grid-rows-[1fr_auto] lg:grid-cols-[minmax(0,1.1fr)_minmax(0,1fr)] lg:grid-rows-1">
      <aside className="hidden flex-col justify-between bg-hero p-12 text-on-hero lg:flex" aria-label="About ChatCluster">
        <Mark />
        <div className="max-w-md">
          <p className="text-4xl leading-[1.15] font-semibold tracking-tight text-balance">Say it once. It arrives, and it stays.</p>
          <p className="mt-4 text-lg leading-relaxed">
            Messages wait for you when you are offline, keep their order, and show when they were read.
          </p>
        </div>
        <p className="text-sm">Your chat, on your own servers.</p>
      </aside>
      <main className="flex items-center justify-center px-5 py-10">
        <div className="w-full max-w-sm">
          <div className="mb-10 text-accent lg:hidden">
            <Mark />
          </div>
          <h1 className="text-3xl font-semibold tracking-tight">{title}</h1>
          <p className="mt-2 mb-8 text-muted">{lead}</p>
          {children}
        </div>
      </main>
    </div>
  );
}

function Mark() {
  return (
    <p className="flex items-center gap-2.5 text-lg font-semibold tracking-tight">
      <img src="/icon.svg" alt="" className="size-8 rounded-[0.6rem] ring-1 ring-white/25" />
      ChatCluster
    </p>
  );
}
