"""A diff shows what changes, and no secret that stands beside it."""

from mirror.runtimes.configuring import Step
from mirror.runtimes.shown import diff


def test_a_file_that_comes_or_goes_is_so_called() -> None:
    assert diff(Step("/etc/a", None, "one\n")) == ["--- /dev/null", "+++ /etc/a", "@@ -0,0 +1 @@", "+one"]
    assert diff(Step("/etc/a", "one\n", None))[:2] == ["--- /etc/a", "+++ /dev/null"]


def test_values_of_passwords_are_left_out() -> None:
    secrets = [
        "      password: hidden",
        'password = "hidden" # hidden',
        '    "auth": "hidden"',
        "  identitytoken: hidden",
        "    auth: {username: me, password: hidden}",
        '  Authorization = ["Basic hidden"]',
        "- token: hidden",
    ]
    for secret in secrets:
        shown = "\n".join(diff(Step("/etc/a", f"{secret}\n", f"new\n{secret}\n")))
        assert "hidden" not in shown, secret
        assert "+new" in shown


def test_what_is_none_is_shown() -> None:
    for plain in ("config_path = '/etc/keys'", "    auth:", "[auth]", "key_file: /a", "  username: me"):
        assert f" {plain}" in diff(Step("/etc/a", f"{plain}\n", f"{plain}\nnew\n"))
