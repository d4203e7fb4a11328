#!/bin/sh
# What the gateway is made of: contrib/supply.sh pins|install-check|sbom|licences|audit
#   pins            contrib/requirements.txt anew, each package with its version and its hashes
#   install-check   installs exactly that, and the gateway, into a fresh place, and starts it
#   sbom            build/sbom.json, CycloneDX, of what install-check installed
#   licences        docs/licences.md anew, of the same
#   audit           asks the Python Packaging Advisory Database for known faults of it
set -eu
cd "$(dirname "$0")/.."
goal=${1:-}
pins=contrib/requirements.txt
tools=.venv/supply
place=build/pinned

say() { printf '%s\n' "$*" >&2; }

with_tools() {
    [ -x "$tools/bin/pip-compile" ] && return
    say "Installing pip-tools, pip-audit, cyclonedx-bom and pip-licenses into $tools"
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check \
        pip-tools pip-audit cyclonedx-bom pip-licenses
}

installed() {
    [ "$place/installed" -nt "$pins" ] && return
    rm -rf "$place"
    "${PYTHON:-python3}" -m venv "$place"
    say "Installing what $pins names into $place"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes --no-deps -r "$pins"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps .
    "$place/bin/python" -m pip check >&2
    touch "$place/installed"
}

case $goal in
pins)
    with_tools
    CUSTOM_COMPILE_COMMAND="contrib/supply.sh pins" "$tools/bin/pip-compile" --quiet \
        --generate-hashes --allow-unsafe --strip-extras --upgrade --no-emit-index-url \
        --no-emit-trusted-host --no-emit-find-links --output-file "$pins" setup.cfg
    say "$(grep -c '==' "$pins") packages in $pins"
    ;;
install-check)
    installed
    "$place/bin/environet" --help >/dev/null
    say "Installed and started from $pins alone"
    ;;
sbom)
    with_tools
    installed
    "$tools/bin/cyclonedx-py" environment --output-reproducible --output-format JSON \
        --output-file build/sbom.json "$place/bin/python"
    say "build/sbom.json"
    ;;
licences)
    with_tools
    installed
    {
        printf '# Licences\n\n'
        printf 'Of the packages that the gateway is installed with (`contrib/supply.sh`, `licences`).\n\n'
        "$tools/bin/pip-licenses" --python "$place/bin/python" --format markdown --from mixed \
            --with-urls --ignore-packages environet-gateway pip setuptools |
            sed 's/  */ /g; s/^| IMAPClient | \([^|]*\) | UNKNOWN /| IMAPClient | \1 | New BSD /' |
            cut -d'|' -f2,4,5 | sed 's/^/|/; s/$/|/; s/--*/---/g' # its field has no licence, its text has
    } >docs/licences.md
    say "docs/licences.md"
    ;;
audit)
    with_tools
    "$tools/bin/pip-audit" --requirement "$pins" --require-hashes --disable-pip --no-deps --strict
    ;;
*)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
