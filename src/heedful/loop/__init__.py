"""How it improves: the five steps, each reading the log and writing the registry.

Sorting the names: `bench` is what every step works with, `lessons` say what is learned from and
`form` what a policy looks like; `steps` makes versions by `pretrain`, `reinforce` and `tune`, each
in a `run` of its own; `augment` changes what is read in training, `range_test` finds a learning
rate; `reward` and `answers` fit what reads people; `collect` gathers on-policy experience,
`tabular` learns while it plays, by the steps of `transitions`;
`assess` and `judge` say what a version is worth, `deploy` begins and settles trials, `turn` is one
turn of the circle; `served`, `plots` and `report` show it.
"""
