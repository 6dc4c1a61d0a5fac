import { useState } from "react";

import { chooseTheme, chosenTheme, type Theme } from "../../ui/theme";

const THEMES: [Theme, string][] = [
  ["system", "System"],
  ["light", "Light"],
  ["dark", "Dark"],
];

export function ThemeChoice() {
  const [theme, setTheme] = useState(chosenTheme);
  const choose = (next: Theme) => {
    chooseTheme(next);
    setTheme(next);
  };
  return (
    <fieldset className="mt-6">
      <legend className="mb-1.5 text-sm font-medium">Theme</legend>
      <div className="grid grid-cols-3 gap-1 rounded-xl border border-line bg-canvas p-1">
        {THEMES.map(([value, label]) => (
          <label key={value} className="cursor-pointer rounded-lg py-2 text-center text-sm text-muted has-checked:bg-raised has-checked:font-semibold has-checked:text-ink has-checked:shadow-sm has-focus-visible:outline-2 has-focus-visible:outline-accent">
            <input type="radio" name="theme" value={value} checked={theme === value} onChange={() => choose(value)} className="sr-only" />
            {label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
