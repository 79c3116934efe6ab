"""The linter inside a training loop.

The package is not called ``watch`` because the function is.
"""

from losscope.watching.functions import WatchFunctions
from losscope.watching.hook import Watch, unwatch, watch
from losscope.watching.telling import FindingWarning

__all__ = ["FindingWarning", "Watch", "WatchFunctions", "unwatch", "watch"]
