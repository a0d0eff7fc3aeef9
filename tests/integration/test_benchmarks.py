"""The benchmarks run, see what they are to see, and print it; how fast is for `make` to say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as harness
from benchmarks import charts, data, document, filtered, gateway, growth, restoring
from benchmarks.measuring import Answer, Figures, Tally, Truth
from benchmarks.peers import __main__ as peers
from benchmarks.peers.report import COLUMNS
from benchmarks.results import Target
from benchmarks.targets import Row, targets

CONTENDERS = ["vecstore", "raw, off", "raw, strict_order", "raw, relaxed_order"]
LARGE_SECTIONS = 31  # of the bundled rows, those with 20 or more

SIMILARITIES = np.array([[0.9, 0.8, 0.7, 0.7, 0.1]], dtype=np.float32)


RACES = ("search", "link", "ingest", "entities", "build")


def test_a_run_of_the_harness_measures_its_cases_and_what_it_writes_makes_a_document(
    tmp_path: Path, major: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"ROWS": (50, 100), "COLLECTIONS": (1, 2), "PARTITIONS": (1, 2), "FIELDS": (3, 4)}
    for name, few in sizes.items():
        monkeypatch.setattr(growth, name, few)
    names = [*RACES, "growth"]
    arguments = ["--only", ",".join(names), "--server", str(major), "--out", str(tmp_path)]
    assert harness.main(["--synthetic", "300x8", "--rounds", "1", "--queries", "2", *arguments]) == 0
    printed = capsys.readouterr().out
    reports = document.read(tmp_path)
    assert list(reports) == names
    for name, report in reports.items():
        assert report.setting["PostgreSQL"].startswith(f"{major}.")
        assert (report.setting["rows"], report.setting["dimensions"]) == (300, 8)
        page = document.written(f"<!-- measured: {name} -->\n<!-- end -->\n", reports)
        assert all(found.case in page for found in (*report.results, *report.curves))
    for result in (result for name in RACES for result in reports[name].results):
        assert result.ratio is not None
        assert list(result.sides) == ["vecstore", "by hand"]
        for found in result.sides.values():
            assert 0 < found.p50 <= found.p99
            assert found.client_cpu > 0
        assert result.targets
        assert all(target.promise in printed for target in result.targets)
    for curve, few in zip(reports["growth"].curves, sizes.values(), strict=True):
        assert tuple(curve.x) == few
        assert curve.p50.keys() == curve.cpu.keys()
        assert all(len(line) == len(few) and min(line) > 0 for line in (*curve.p50.values(), *curve.cpu.values()))
        assert (tmp_path / charts.curve_file(curve)).exists()
    assert (tmp_path / "ratios.svg").read_text(encoding="utf-8").count("search") >= len(reports["search"].results)


def test_what_restoring_takes_is_measured_beside_loading(major: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert restoring.main(["--rows", "300", "--dim", "8", "--rounds", "1", "--server", str(major)]) == 0
    printed = capsys.readouterr().out
    assert "300 rows of 8 dimensions" in printed
    for step in ("load it anew", "drop the collection, kept", "restore it", "restore the partition"):
        assert re.search(rf"{step}.* [\d,]+\.\d ", printed)


def test_the_gateway_is_measured_beside_the_library(
    major: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "find_spec", lambda _: None)  # milvus-lite, which takes its time
    monkeypatch.setattr(gateway, "SEARCHES", 2)
    names = ["--only", "gateway", "--server", str(major)]
    assert harness.main(["--synthetic", "300x8", "--rounds", "1", "--queries", "2", *names]) == 0
    printed = capsys.readouterr().out
    assert "search of 10 by MilvusClient through the gateway" in printed
    assert "insert of 300 rows in batches of 1,000 by MilvusClient" in printed
    assert "16 clients at once" in printed


def test_the_page_of_figures_is_what_its_figures_make_of_it() -> None:
    page = document.DOCUMENT.read_text(encoding="utf-8")
    folder = document.DOCUMENT.with_suffix("")
    assert document.written(page, document.read(folder), document.read_peers(folder)) == page


def test_a_peer_does_all_of_its_work_and_leaves_a_line_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = data.clustered(200, 8)
    np.save(tmp_path / "vectors.npy", made.vectors)
    np.save(tmp_path / "queries.npy", made.queries[:4])
    words = {"installed_size": 1, "priority": "", "architecture": "", "version": ""}
    rows = [{"name": "", "section": str(section), **words} for section in made.sections]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert peers.main(["vecstore", "--data", str(tmp_path), "--out", str(tmp_path)]) == 0
    report = document.read_peers(tmp_path)
    assert report is not None
    found = report.peers["vecstore"]
    assert all(found[key] is not None for key, _, _ in COLUMNS)
    assert (found["filtered_short"], found["found_after_delete"]) == (0, 0)
    assert found["search_recall"] >= 0.95 <= found["filtered_recall"]
    assert report.table()[-1] in capsys.readouterr().out
    assert report.table()[-1] in document.written("<!-- measured: peers -->\n<!-- end -->\n", {}, report)
    assert (tmp_path / "peers.svg").exists()


def test_a_target_is_a_ceiling_or_a_floor() -> None:
    assert [Target("p50", reached, 1.15).met for reached in (1.15, 1.16)] == [True, False]
    assert [Target("rows/s", reached, 0.85, at_least=True).met for reached in (0.85, 0.84)] == [True, False]
    target = Target("CPU", 1.049, 0.15, "ms")
    assert (target.asked, target.measured) == ("≤ 0.15 ms", "1.05 ms")


def figures(*, recall: float = 1.0, short: int = 0) -> Figures:
    return Figures(recall, short, p50=1.0, p99=2.0, paths={"index": 1})


def test_a_run_on_the_bundled_rows_has_a_row_for_each_filter_and_none_of_ours_is_short(
    tmp_path: Path, major: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--queries", "4", "--rounds", "1", "--server", str(major), "--json", str(file)]
    assert filtered.main(arguments) == 0
    report = json.loads(file.read_text(encoding="utf-8"))
    labels = [row["label"] for row in report["rows"]]
    assert labels[:5] == ["no filter", "0.1 % random", "1 % random", "10 % random", "50 % random"]
    assert len(labels) == len(set(labels)) == 5 + LARGE_SECTIONS
    assert [row["rows"] for row in report["rows"][:5]] == [3000, 3, 30, 300, 1500]
    assert report["setting"]["PostgreSQL"].startswith(f"{major}.")
    for row in report["rows"]:
        assert list(row["figures"]) == CONTENDERS
        assert row["figures"]["vecstore"]["short"] == 0
        for found in row["figures"].values():
            assert 0 < found["p50"] <= found["p99"]
            assert sum(found["paths"].values()) == 4
            assert set(found["paths"]) <= {"index", "exact", "index+exact"}
    # Where pgvector alone comes back short, that is seen.
    assert sum(row["figures"]["raw, off"]["short"] for row in report["rows"]) > 0
    printed = capsys.readouterr().out
    assert all(label in printed for label in labels)
    assert all(target["promise"] in printed for target in report["targets"])


def test_a_random_filter_takes_exactly_its_share_and_made_up_rows_have_sections() -> None:
    made = data.clustered(2_000)
    assert [int((made.draws < limit).sum()) for limit in (1, 10, 100, 500, 1_000)] == [2, 20, 200, 1_000, 2_000]
    assert (len(made.vectors), len(made.sections), made.vectors.shape[1]) == (2_000, 2_000, made.queries.shape[1])
    assert len(list(filtered.cases(made))) > 5


@pytest.mark.parametrize(
    ("matching", "ids", "recall", "found"),
    [
        ([1, 1, 1, 1, 1], [0, 1, 2], 1.0, 3),
        ([1, 1, 1, 1, 1], [0, 1, 3], 1.0, 3),  # as near as row 2
        ([1, 1, 1, 1, 1], [0, 1, 4], 2 / 3, 3),
        ([1, 1, 1, 1, 1], [0, 0, 0], 1 / 3, 1),
        ([0, 1, 1, 0, 1], [1, 2, 0], 2 / 3, 2),  # row 0 does not match
        ([0, 0, 0, 1, 1], [3, 4], 1.0, 2),
        ([0, 0, 0, 0, 0], [], 1.0, 0),
    ],
)
def test_recall_takes_what_is_as_near_and_nothing_twice(
    matching: list[int], ids: list[int], recall: float, found: int
) -> None:
    truth = Truth(SIMILARITIES, np.array(matching, dtype=bool), 3)
    assert truth.recall(0, ids) == pytest.approx(recall)
    assert truth.found(ids) == found


def test_an_answer_is_short_when_fewer_rows_match_than_could_and_times_are_medians_of_rounds() -> None:
    tally = Tally(Truth(SIMILARITIES, np.ones(5, dtype=bool), 3))
    for milliseconds in (1.0, 9.0, 2.0):
        tally.begin_round()
        tally.add(0, Answer([0, 1, 2], "index"), milliseconds)
        tally.add(0, Answer([0, 1, 1], "exact"), milliseconds)
    assert tally.figures() == Figures(pytest.approx(5 / 6), short=3, p50=2.0, p99=2.0, paths={"index": 3, "exact": 3})


def test_each_target_is_missed_by_the_row_that_misses_it() -> None:
    def met(**changes: Row) -> list[bool]:
        rows = {
            "all": Row("all", 1000, 1.0, {"vecstore": figures(recall=0.98)}, 9.0),
            "half": Row("half", 500, 0.5, {"vecstore": figures(recall=0.98)}, 3.9),
            "few": Row("few", 10, 0.01, {"vecstore": figures(recall=0.995)}, 4.0),
        }
        return [target.met for target in targets(list((rows | changes).values()))]

    assert met() == [True] * 5
    assert met(few=Row("few", 10, 0.01, {"vecstore": figures(short=1)}, 1.0)) == [False, True, True, True, True]
    assert met(half=Row("half", 500, 0.5, {"vecstore": figures(recall=0.96)}, 1.0)) == [True, False, True, True, True]
    assert met(few=Row("few", 10, 0.01, {"vecstore": figures(recall=0.98)}, 1.0)) == [True, True, False, True, True]
    assert met(all=Row("all", 1000, 1.0, {"vecstore": figures(recall=0.9)}, 1.0)) == [True, False, True, False, True]
    assert met(half=Row("half", 500, 0.5, {"vecstore": figures()}, 4.1)) == [True, True, True, True, False]
