"""What `make bench` measures: the whole stack on loopback, beside yardsticks taken in the same run.

sizes      how much is measured
network    the simulated network, a process of its own
admin      asking the gateway as its operator
postgres   looking into the stack's database, and putting it into a known state
imports    one timed import, and the check that no row was lost
yardsticks the same rows written without Headwater
resources  CPU seconds and peak memory by process
stages     the parts of the path alone, one process, one core
machine    where and with what it was measured
results    what was found, as values; pure
report     the values as Markdown; pure
"""
