"""The `skvaller` command; `python -m mirror` is the same."""

import signal


def main() -> None:
    """Run the command line. Ctrl-C ends it without a stack trace, also while it loads."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job ignores it, and may
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as run

    run()


if __name__ == "__main__":
    main()
