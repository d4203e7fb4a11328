#!/bin/sh
# Sets a Debian 12 machine up: contrib/setup.sh run|test|bench|fuzz
# Debian's packages are installed where that is allowed (root, or sudo without a password), Python's
# go into .venv. Says what to install where it can't; harmless when all is there.
set -eu
cd "$(dirname "$0")/.."
goal=${1:-run}
bench=
[ "$goal" = bench ] && goal=test && bench=1
python=${PYTHON:-python3}

say() { printf '%s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"
    else return 1
    fi
}

# apt_install WHAT_FOR PACKAGE...
apt_install() {
    what_for=$1; shift
    say "Installing with apt, $what_for: $*"
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" \
        >/dev/null 2>&1 && return 0
    as_root apt-get -q update >/dev/null 2>&1 || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" \
        >/dev/null
}

if ! command -v "$python" >/dev/null 2>&1 ||
    ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "Python 3.11 or later is needed: install it, or name it: make PYTHON=/path/to/python3"
    exit 1
fi
if ! command -v gpg >/dev/null 2>&1 || ! command -v gpgconf >/dev/null 2>&1; then
    apt_install "the keeper of the gateway's keys" gnupg ||
        { say "GnuPG 2.2 or later is needed. As root: apt-get install gnupg"; exit 1; }
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    apt_install "for .venv" python3-venv ||
        { say "Python's venv is needed. As root: apt-get install python3-venv"; exit 1; }
fi
if [ "$goal" = test ]; then
    wanted=
    command -v sq >/dev/null 2>&1 || wanted="$wanted sq"
    command -v rnp >/dev/null 2>&1 || wanted="$wanted rnp"
    [ -x /usr/sbin/smtp-sink ] || wanted="$wanted postfix"
    [ -x /usr/lib/dovecot/imap ] || wanted="$wanted dovecot-imapd"
    [ -x /usr/lib/dovecot/lmtp ] || wanted="$wanted dovecot-lmtpd"
    command -v swaks >/dev/null 2>&1 || wanted="$wanted swaks"
    # Officers' programs, and what several hosts on one machine are made with.
    command -v neomutt >/dev/null 2>&1 || wanted="$wanted neomutt"
    command -v mutt >/dev/null 2>&1 || wanted="$wanted mutt"
    command -v thunderbird >/dev/null 2>&1 || wanted="$wanted thunderbird"
    command -v Xvfb >/dev/null 2>&1 || wanted="$wanted xvfb"
    [ -x /usr/sbin/nft ] || wanted="$wanted nftables"
    [ -x /bin/ip ] || [ -x /usr/sbin/ip ] || wanted="$wanted iproute2"
    # For tests in a browser; Playwright's own download is not used.
    command -v chromium >/dev/null 2>&1 || wanted="$wanted chromium fonts-dejavu-core"
    command -v npm >/dev/null 2>&1 || wanted="$wanted npm"
    # For the samples in contrib/.
    [ -x /usr/sbin/nginx ] || wanted="$wanted nginx-light"
    [ -x /usr/sbin/logrotate ] || wanted="$wanted logrotate"
    command -v caddy >/dev/null 2>&1 || wanted="$wanted caddy"
    # Who else verifies our DKIM signatures.
    [ -x /usr/sbin/opendkim ] || wanted="$wanted opendkim"
    # Other clocks for the gateway's machines.
    ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || wanted="$wanted faketime"
    # The server's programs alone matter: tests start a server of their own.
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted="$wanted postgresql"
    # What the gateway is measured beside.
    [ -z "$bench" ] || [ -d /usr/lib/ruby/vendor_ruby/schleuder ] || wanted="$wanted schleuder"
    # shellcheck disable=SC2086  # a list of words
    if [ -n "$wanted" ] && ! apt_install "programs to test with" $wanted; then
        say "Tests with these programs will be skipped. As root: apt-get install$wanted"
    fi
fi

stamp=.venv/installed-$goal
if [ ! -e "$stamp" ] || [ setup.cfg -nt "$stamp" ]; then
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    extra=
    [ "$goal" = test ] && extra='[test]'
    [ "$goal" = fuzz ] && extra='[test,fuzz]'
    say "Installing Python packages into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".$extra"
    touch "$stamp"
fi
if [ "$goal" = test ] && [ ! -e .venv/axe/node_modules/axe-core/axe.min.js ]; then
    say "Installing axe-core with npm, for the tests of accessibility"
    if ! command -v npm >/dev/null 2>&1 ||
        ! npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts \
            --prefix .venv/axe axe-core@4 >/dev/null; then
        say "Tests of accessibility will be skipped: axe-core is not there (npm install axe-core)"
    fi
fi
