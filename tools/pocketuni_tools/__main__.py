"""`python -m pocketuni_tools`: the converter's command line."""

import sys

from .convert import main

sys.exit(main())
