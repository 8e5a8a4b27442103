"""Names that look alike. The ledger records clients by their names."""

import unicodedata

from confusable_homoglyphs import confusables


def appearance_of(name: str) -> str:
    """Return a text that names with the same appearance have in common.

    Case, width and blanks are ignored. Letters and digits that look like a Latin letter are
    replaced by it, as in Unicode's table of confusable characters (UTS 39).
    """
    text = " ".join(unicodedata.normalize("NFKC", name).split())
    found = confusables.is_confusable(text, greedy=True, preferred_aliases=["latin"]) or []
    latin = {each["character"]: each["homoglyphs"][0]["c"] for each in found}
    return "".join(latin.get(character, character) for character in text).casefold()
