#!/bin/sh
# Draws every Mermaid picture of the guide in Chromium, with the library that GitHub uses: a picture that cannot be
# drawn there is an error message in the middle of the text.
#
# For those who write the guide, and for CI: scripts/mermaid/check.sh [--save DIR] [FILE]...
#   --save DIR   also keeps what was drawn, one PNG per picture, named after the line of the guide
#   FILE         other files than workshop.md, README.md and ARCHITECTURE.md
# Needs npm and Chromium (Debian: npm, chromium). The packages go to target/mermaid.
# Prints each picture that cannot be drawn, with its file and line, and how many can. Exit status: 0 all can be drawn,
# 1 not all, 2 it could not be tried.
set -eu

fail() {
    printf 'mermaid/check.sh: %s\n' "$*" >&2
    exit 2
}

# install NAME VERSION SHA512: a package as npm has it. These two are complete in themselves, so nothing else is needed.
install() {
    folder=target/mermaid/node_modules/$1
    if [ -e "$folder/.$2" ]; then return; fi
    rm -rf "$folder"
    mkdir -p "$folder"
    npm pack --silent --pack-destination target/mermaid "$1@$2" >/dev/null || fail "npm could not fetch $1 $2"
    echo "$3  target/mermaid/$1-$2.tgz" | sha512sum --check --quiet >&2 ||
        fail "$1 $2 is not what it was: its sum is another"
    tar -xzf "target/mermaid/$1-$2.tgz" -C "$folder" --strip-components=1
    touch "$folder/.$2"
}

# The library that GitHub uses, and a driver for Debian's Chromium.
install_packages() {
    install mermaid 11.12.0 66e755c7bdc1c2b3097c2166492253f38cbabb96eb12857c0ce22d747a2634bcf7dae06336b7a59bb9a0f795fb83e0ba528407fd6ea604b183103bfbdc977106
    install playwright-core 1.56.1 86eb6b6b29f29f7d45f8189f99ef8fb3d56ae7d84ab940b3ec7d640ce701b3eda81a0b8a9164d4e746c15abb73df83945a6230a414d60f16913d7ac85e482f99
    cp scripts/mermaid/check.mjs target/mermaid/
}

main() {
    CDPATH='' cd "$(dirname "$0")/../.."
    command -v npm >/dev/null || fail "needs npm (Debian: apt install npm)"
    install_packages
    case "${1-}" in
        "") set -- workshop.md README.md ARCHITECTURE.md ;;
        --save)
            [ $# -ge 2 ] || fail "--save needs a folder"
            [ $# -gt 2 ] || set -- --save "$2" workshop.md README.md ARCHITECTURE.md
            ;;
    esac
    exec node target/mermaid/check.mjs "$@"
}

main "$@"
