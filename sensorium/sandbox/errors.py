"""The one error of this package."""


class SandboxError(ValueError):
    """The sandbox cannot be built or cannot be trusted; the text says why and what to do next."""
