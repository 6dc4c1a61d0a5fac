import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds a running chat; `cargo xtask up` prints its address. */
const chat = process.env["CHAT_URL"] ?? "http://localhost:8080";

export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: {
    // No data: addresses, the content security policy forbids them.
    assetsInlineLimit: 0,
    manifest: true,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: {
    proxy: {
      "/api": { target: chat },
      "/ws": { target: chat, ws: true },
    },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
