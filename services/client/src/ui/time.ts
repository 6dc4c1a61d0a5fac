const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const shortDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const longDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const DAY = 86_400_000;

export const timeOfDay = (at: Date): string => clock.format(at);

/** Days between two moments, by the calendar of this place. */
export function daysBetween(earlier: Date, later: Date): number {
  const midnight = (date: Date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  return Math.round((midnight(later) - midnight(earlier)) / DAY);
}

const capital = (text: string): string => text.charAt(0).toLocaleUpperCase() + text.slice(1);

/** Heads a day of messages: Today, Yesterday, Monday, or the date. */
export function dayName(at: Date, now: Date): string {
  const days = daysBetween(at, now);
  if (days === 0 || days === 1) return capital(relative.format(-days, "day"));
  return days > 1 && days < 7 ? weekday.format(at) : longDay.format(at);
}

/** Beside a conversation in the list. */
export function briefly(at: Date, now: Date): string {
  const days = daysBetween(at, now);
  if (days <= 0) return clock.format(at);
  if (days === 1) return capital(relative.format(-1, "day"));
  return days < 7 ? weekday.format(at) : shortDay.format(at);
}
