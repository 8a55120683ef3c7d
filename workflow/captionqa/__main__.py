"""`python -m captionqa`: the command `captionqa` from a checkout that is not installed."""

import sys

from captionqa.driver.command_line import main

if __name__ == "__main__":
    sys.exit(main())
