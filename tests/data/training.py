"""A few texts in several scripts, to learn small vocabularies from."""


def texts() -> list[str]:
    """Some hundred short texts, always the same."""
    heads = ["the quick brown fox", "it's 2024, isn't it", "naïve café", "Привет мир", "中文文本"]
    tails = [" jumps over 13 dogs.", "\n\nthen they'll go", "  two  spaces", "\tTab!", " ٣٤٥ 😀"]
    return [f"{a}{b} {c}" for a in heads for b in tails for c in heads]
