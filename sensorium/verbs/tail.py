"""The end of a text that is being said: what may be shown already, and where it stops."""

import codecs
from collections.abc import Sequence


class Tail:
    """Takes a text token by token, as bytes, and gives what of it is sure.

    Held back are bytes that do not yet make a letter, and letters that may turn out to begin a stop
    string; a stop string itself is never given. All that is given, joined, is the whole text.
    """

    def __init__(self, stop: Sequence[str] = ()):
        self.stop = tuple(stop)
        if any(not isinstance(one, str) or not one for one in self.stop):
            raise ValueError("stop must be a list of texts, none of them empty")
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def push(self, data: bytes) -> str:
        """The text that became sure with these bytes; nothing more once it has stopped."""
        return self._sure(self._decode.decode(data))

    def finish(self) -> str:
        """The rest: what was held back and stops nothing."""
        text = self._sure(self._decode.decode(b"", final=True))
        rest, self._held = self._held, ""
        return text if self.stopped else text + rest

    def _sure(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        ends = [at for at in (text.find(one) for one in self.stop) if at >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        keep = max((_begun(text, one) for one in self.stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _begun(text: str, stop: str) -> int:
    """How many of the last letters are the first of a stop string."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
