"""How it improves: the five steps, each reading the log and writing the registry.

Sorting the names: `steps` makes versions by `pretrain`, `reinforce` and `tune`, each in a `run`
of its own; `augment` changes what is read in training, `range_test` finds a learning rate;
`collect` gathers on-policy experience; `assess` and `judge` say what a version is worth, `deploy`
begins and settles trials, `turn` is one turn of the circle; `served`, `plots` and `report` show it.
"""
