"""`python -m vecstore` is the command `vecstore`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
