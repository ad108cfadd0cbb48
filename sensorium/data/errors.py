"""What goes wrong with data: one error, whose text says what, where, why and what to do next."""


class DataError(ValueError):
    """Texts, tables or samples that cannot be used as they are."""
