import { initials, hue } from "./initials";

interface Props {
  name: string;
  /** Decides the colour, so that it stays when the name changes. */
  id: string;
  online?: boolean;
  size?: "normal" | "small";
}

/** Initials and presence, for the eye only: the text beside it says both. */
export function Avatar({ name, id, online, size = "normal" }: Props) {
  const box = size === "small" ? "size-9 text-xs" : "size-11 text-sm";
  return (
    <span className="relative shrink-0" aria-hidden="true">
      <span className={`grid place-items-center rounded-full font-semibold tracking-wide select-none ${box} hue-${hue(id)}`}>
        {initials(name)}
      </span>
      {online && (
        <span className="absolute right-0 bottom-0 size-3 rounded-full border-2 border-panel bg-accent" />
      )}
    </span>
  );
}
