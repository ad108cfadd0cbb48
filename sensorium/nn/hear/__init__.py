"""From what was heard to tokens: which may be said, greedy and beam search, alignment in time."""
