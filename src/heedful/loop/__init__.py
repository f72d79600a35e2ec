"""How it improves: the five steps, each reading the log and writing the registry.

Sorting the names: `bench` is what every step works with, `lessons` say what is learned from and
`form` what a policy looks like; `steps` makes versions by `pretrain`, `reinforce` and `tune`, each
in a `run` of its own; `augment` changes what is read in training, `range_test` finds a learning
rate; `reward` and `answers` fit what reads people; `collect` gathers on-policy experience,
`tabular` learns while it plays, and `vectorised` does without records; `interact` is learning by
playing, and `deep_q` does it from a `memory`; `constraints` are kept to in training. `assess` says
what a version is worth: by what was held out, by the log's probabilities (`judge`, `units`), by
what it `foretold`, and by what it forgot (`forgetting`). A `trial` is judged
on its `cohort`, with `guarding` and `fitness`; `plan` says before how long it takes, `deploy`
begins and settles it, `status` tells how far it has come. `turn` is one turn of the circle,
`forever` goes on; `served`, `plots` and `report` show it.
"""
