"""Speed, measured: each figure beside its ceiling, from one run, with events lost and doubled."""
