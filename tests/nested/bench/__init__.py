"""The benchmark: Ravelin and a Linux firewall VM in turn, same client, same uplink, same run. See docs/bench.md."""
