import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

// The page is served below /console/ by hull itself, which puts a nonce of its own into each answer.
export default defineConfig({
  base: '/console/',
  plugins: [react()],
  html: { cspNonce: '__NONCE__' },
  // What is in e2e/ is run by crates/testing, which brings a node.
  test: { include: ['src/**/*.test.ts'] },
  build: {
    target: 'es2022',
    // scripts/console keeps the directory clean; cargo watches it, so it must always be there.
    emptyOutDir: false,
    // Nothing inline: the content security policy takes files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: 'manifest.json',
    reportCompressedSize: false,
    chunkSizeWarningLimit: 2000,
  },
})
