const HUES = 6;

export function initials(name: string): string {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const first = [...(words[0] ?? "?")];
  const second = words.length > 1 ? [...(words.at(-1) ?? "")] : first.slice(1);
  return `${first[0] ?? "?"}${second[0] ?? ""}`.toLocaleUpperCase();
}

export function hue(id: string): number {
  // FNV-1a: ids that were made in the same second differ in few characters.
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index += 1) {
    hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193) >>> 0;
  }
  return (hash >>> 8) % HUES;
}
