#!/bin/sh
# Skvaller @VERSION@ for Python @PYTHON@ on @ARCH@, in one file. `sh FILE --help` says what it does. What follows this script is
# a zip archive, which Python runs: it needs the interpreter and glibc, no pip, no compiler and no network.
die() { printf 'skvaller: %s\n' "$*" >&2; exit 1; }
digest=$(tail -c @BYTES@ "$0" | sha256sum)
[ "${digest%% *}" = @SHA256@ ] || die "$0 is not as it was made: some of its bytes are missing, or others; copy it again"
[ "$(uname -m)" = @ARCH@ ] || die "this file is for @ARCH@, and this machine is $(uname -m); make one with ./dev bundle --arch $(uname -m)"
has() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
if [ -n "${PYTHON:-}" ]; then
  [ "$(has "$PYTHON")" = @PYTHON@ ] || die "this file is for Python @PYTHON@, and PYTHON=$PYTHON is '$(has "$PYTHON")'"
elif [ "$(has /usr/bin/python@PYTHON@)" = @PYTHON@ ]; then
  PYTHON=/usr/bin/python@PYTHON@
else
  PYTHON=$(command -v python@PYTHON@) || PYTHON=$(command -v python3) || PYTHON=
  case $(has "${PYTHON:-none}") in
    @PYTHON@) ;;
    3.1[1-9] | 3.[2-9]?) die "this file is for Python @PYTHON@, and $PYTHON is $(has "$PYTHON"); make one with ./dev bundle --python $(has "$PYTHON")" ;;
    '') die "there is no Python here: install Python @PYTHON@ (Debian 12: apt-get install -y python3), then run this again" ;;
    *) die "$PYTHON is $(has "$PYTHON"), which is too old; install Python @PYTHON@, then run this again (PYTHON=/PATH/OF/IT names it)" ;;
  esac
fi
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP
exec "$PYTHON" -IS "$0" "$@"
