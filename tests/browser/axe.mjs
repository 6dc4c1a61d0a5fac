// No violation of accessibility rules, in both themes and at both widths.

import assert from 'node:assert/strict';
import { AxeBuilder } from '@axe-core/playwright';

const LOOKS = [
  { width: 1280, theme: 'light' },
  { width: 1280, theme: 'dark' },
  { width: 320, theme: 'light' },
  { width: 320, theme: 'dark' },
];

export async function accessible(page, state) {
  const before = page.viewportSize();
  for (const { width, theme } of LOOKS) {
    await page.setViewportSize({ width, height: 720 });
    await page.emulateMedia({ colorScheme: theme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    const found = violations.map(({ id, nodes }) => [id, ...nodes.slice(0, 3).map((node) => node.html)]);
    assert.deepEqual(found, [], `${state} at ${width} px, ${theme}`);
    const tooWide = await page.evaluate(
      () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
    );
    assert.equal(tooWide, false, `${state} scrolls sideways at ${width} px`);
  }
  await page.setViewportSize(before);
  await page.emulateMedia({ colorScheme: 'light' });
}
