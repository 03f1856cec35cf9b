"""``python -m ftpstorm``: the same as the command ``ftpstorm``."""

import sys

from ftpstorm.cli import main

sys.exit(main())
