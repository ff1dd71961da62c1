"""The agent as a service of its machine: put there, replaced by a newer one, and taken away.

    /opt/skvaller/0.1.0-3f2a91bc/      a release, whole; an upgrade puts another one beside it
    /opt/skvaller/current              leads to the release that runs, and is switched at once
    /usr/local/bin/skvaller            leads to the command of the current release
    /etc/systemd/system/skvaller.service
    /etc/skvaller/agent.toml, cluster.key
    /var/lib/skvaller                  the cache

`plan` says what would be written, as texts, and touches nothing; `carrying_out` writes, starts, and puts back what was
there if the new agent does not start. What pip has installed stays where it is: then the unit runs that.
"""
