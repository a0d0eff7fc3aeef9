"""What vecstore costs and finds, measured beside psycopg and pgvector used by hand, on one server, in turns.

data, measuring        what is measured on, and how good an answer is
ours, raw              vecstore's side and the other one: server, collections, sessions
timing, results        turns taken and timed; what came of them, with targets, as JSON
charts, document       docs/performance.md, written by `python -m benchmarks.document`
searching, link,       the cases of `python -m benchmarks`: each module has cases(), a generator of results
parallel, ingest,
entities, building,
importing, memory,
growth
peers/                 other libraries at the same work, `python -m benchmarks.peers`
filtered               a benchmark of its own, `python -m benchmarks.filtered`, with report and targets
"""
