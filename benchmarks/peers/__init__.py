"""Other libraries at the same work, each as its documentation advises, in an environment of its own.

`make bench-peers` makes the environments, under .venv-peers, and runs `python -m benchmarks.peers`, which runs each
peer's module there: `python -m benchmarks.peers.chroma FOLDER`. One whose environment is missing is left out.
task is what all of them do; it, and what it imports, needs nothing but NumPy.
"""
