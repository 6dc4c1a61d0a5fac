export type Theme = "system" | "light" | "dark";

const KEY = "chat.theme";

export function chosenTheme(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

/** Without a choice, the style sheet follows the system. */
export function showTheme(theme: Theme) {
  const root = document.documentElement;
  if (theme === "system") delete root.dataset["theme"];
  else root.dataset["theme"] = theme;
}

export function chooseTheme(theme: Theme) {
  localStorage.setItem(KEY, theme);
  showTheme(theme);
}
