"""What the handles do, a module for each noun: statements built elsewhere are run here, in one transaction a call."""

from __future__ import annotations
