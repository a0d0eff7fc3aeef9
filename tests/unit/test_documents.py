"""What readers do with the documents, beside running them, which conftest.py at the top does: they paste them."""

from __future__ import annotations

import re
from codeop import compile_command
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_python_block_can_be_pasted_into_pythons_prompt(page: Path) -> None:
    """There a blank line ends a compound statement, and nothing else does."""
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        typed: list[str] = []
        for line in [*block.splitlines(), ""]:
            typed.append(line)
            try:
                is_complete = compile_command("\n".join(typed)) is not None
            except SyntaxError:
                pytest.fail(f"{page.name}: a blank line is missing, or one too many, at: {line}")
            if is_complete:
                typed.clear()
        assert not typed
