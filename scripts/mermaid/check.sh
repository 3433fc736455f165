#!/bin/sh
# Draws every Mermaid picture of the guide in Chromium, with the library that GitHub uses: a picture that cannot be
# drawn there is an error message in the middle of the text.
#
# For those who write the guide, and for CI: scripts/mermaid/check.sh [--save DIR] [FILE]...
#   --save DIR   also keeps what was drawn, one PNG per picture, named after the line of the guide
#   FILE         another file than workshop.md and README.md
# Needs npm and Chromium (Debian: npm, chromium). The packages go to target/mermaid, as package-lock.json pins them.
# Prints each picture that cannot be drawn, with its file and line, and how many can. Exit status: 0 all can be drawn,
# 1 not all, 2 it could not be tried.
set -eu

fail() {
    printf 'mermaid/check.sh: %s\n' "$*" >&2
    exit 2
}

install_packages() {
    mkdir -p target/mermaid
    cp scripts/mermaid/package.json scripts/mermaid/package-lock.json scripts/mermaid/check.mjs target/mermaid/
    if cmp -s target/mermaid/package-lock.json target/mermaid/node_modules/.installed; then return; fi
    npm ci --prefix target/mermaid --no-audit --no-fund --ignore-scripts --loglevel=error >&2 ||
        fail "npm could not install its packages: its own words are above"
    cp target/mermaid/package-lock.json target/mermaid/node_modules/.installed
}

main() {
    cd "$(dirname "$0")/../.."
    command -v npm >/dev/null || fail "needs npm (Debian: apt install npm)"
    install_packages
    case "${1-}" in
        "") set -- workshop.md README.md ;;
        --save)
            [ $# -ge 2 ] || fail "--save needs a folder"
            [ $# -gt 2 ] || set -- --save "$2" workshop.md README.md
            ;;
    esac
    exec node target/mermaid/check.mjs "$@"
}

main "$@"
