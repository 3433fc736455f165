// The browser that pictures are drawn in, and the book is tried in.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export function launch(more = []) {
    const executablePath = process.env.CHROMIUM ?? PLACES.find((path) => existsSync(path));
    if (!executablePath) {
        throw new Error("there is no Chromium here: apt install chromium, or name one in CHROMIUM");
    }
    // root, as CI is, has no sandbox; and nothing is to be looked up or updated.
    const args = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-component-update",
        "--disable-background-networking",
        "--disable-sync",
        ...more,
    ];
    return chromium.launch({ executablePath, args });
}
