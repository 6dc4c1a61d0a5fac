import { Icon } from "../../ui/icon";

export function FormAlert({ children }: { children: string }) {
  return (
    <p role="alert" className="flex items-start gap-2.5 rounded-xl border border-signal px-3.5 py-3 text-sm text-signal">
      <Icon name="alert" className="mt-px size-[1.125rem] shrink-0" />
      {children}
    </p>
  );
}
