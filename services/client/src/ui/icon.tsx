const PATHS = {
  chats: "M4 6.8A2.8 2.8 0 0 1 6.8 4h10.4A2.8 2.8 0 0 1 20 6.8v6.9a2.8 2.8 0 0 1-2.8 2.8H11L6.6 20v-3.5A2.8 2.8 0 0 1 4 13.7z",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zm-6 8.5c0-3.2 2.6-5.5 6-5.5s6 2.3 6 5.5M16 4.4a3.5 3.5 0 0 1 0 6.3M17.5 14.4c2.1.7 3.5 2.6 3.5 5.1",
  bell: "M6 10a6 6 0 1 1 12 0c0 4.5 1.8 6 1.8 6H4.2S6 14.5 6 10zM10 19.5a2.2 2.2 0 0 0 4 0",
  send: "M5 12h13M12.5 5.5 19 12l-6.5 6.5",
  back: "M19 12H5.5M11.5 5.5 5 12l6.5 6.5",
  down: "M12 5v13.5M5.5 12.5 12 19l6.5-6.5",
  right: "M9 5.5 15.5 12 9 18.5",
  up: "M12 19V5.5M5.5 11.5 12 5l6.5 6.5",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l4.5 4.5",
  close: "M6 6l12 12M18 6 6 18",
  clock: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 7.8V12l2.8 1.8",
  check: "M5.5 12.5 10 17l8.5-9.5",
  checks: "M2.5 12.5 7 17l8.5-9.5M11.5 15.6 13 17l8.5-9.5",
  alert: "M12 8v5M12 16.3v.1M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17z",
  eye: "M2.8 12S6 5.8 12 5.8 21.2 12 21.2 12 18 18.2 12 18.2 2.8 12 2.8 12zM12 14.7a2.7 2.7 0 1 0 0-5.4 2.7 2.7 0 0 0 0 5.4z",
  hidden: "M4 4l16 16M9.9 6.1A9 9 0 0 1 12 5.8c6 0 9.2 6.2 9.2 6.2a15 15 0 0 1-2.6 3.3M6.2 7.8A14.5 14.5 0 0 0 2.8 12S6 18.2 12 18.2a9 9 0 0 0 3.9-.9",
  trash: "M5 7h14M10 7V5h4v2M7 7l.8 12h8.4L17 7",
} as const;

export type IconName = keyof typeof PATHS;

/** A picture beside a text; never the only thing that says something. */
export function Icon({ name, className = "size-5" }: { name: IconName; className?: string }) {
  return (
    <svg viewBox="0 0 24 24" className={className} fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
