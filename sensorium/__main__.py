"""`python -m sensorium` is the command line."""

import sys

from sensorium.cli import main

sys.exit(main())
